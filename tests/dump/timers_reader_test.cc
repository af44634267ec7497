#include "helper/dump/timers_reader.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <string>

#include "helper/model/pending_signal.h"

namespace stillpoint {
namespace {

using internal::may_have_expired;
using internal::TimerReading;

constexpr absl::Duration kShort = absl::Microseconds(100);
constexpr int64_t kMillisecond = 1'000'000;

TimerReading posix(int64_t value, int64_t interval = 0) {
  return {.posix = true, .id = 3, .silent = false, .interval_ns = interval, .value_ns = value};
}
TimerReading alarm(int64_t value, int64_t interval = 0) {
  return {.posix = false, .id = 0, .silent = false, .interval_ns = interval, .value_ns = value};
}

TEST(TimersReader, OneShotExpiresWhenItIsNoLongerArmed) {
  EXPECT_FALSE(may_have_expired(posix(5000), posix(4000), kShort, false));
  EXPECT_TRUE(may_have_expired(posix(5000), posix(0), kShort, false));
  EXPECT_TRUE(may_have_expired(alarm(5000), alarm(0), kShort, false));
  EXPECT_FALSE(may_have_expired(posix(0), posix(0), kShort, false)) << "it was not armed";
  // Even when a signal of an earlier arming waits.
  EXPECT_TRUE(may_have_expired(posix(5000), posix(0), kShort, true));
}

TEST(TimersReader, DueAndNotOverIsLookedAtAgain) {
  EXPECT_TRUE(may_have_expired(posix(5000), posix(1), kShort, false));
  EXPECT_TRUE(may_have_expired(alarm(5000), alarm(1000), kShort, false));
}

TEST(TimersReader, PeriodicExpiresWhenMoreTimeIsLeftThanBefore) {
  EXPECT_FALSE(may_have_expired(posix(5000, kMillisecond), posix(4000, kMillisecond), kShort, false));
  EXPECT_TRUE(may_have_expired(posix(5000, kMillisecond), posix(900'000, kMillisecond), kShort, false));
  EXPECT_TRUE(may_have_expired(posix(5000, 50'000), posix(4000, 50'000), kShort, false)) << "a whole interval passed";
  EXPECT_FALSE(may_have_expired(posix(5000, kMillisecond), posix(900'000, kMillisecond), kShort, true));
  EXPECT_TRUE(may_have_expired(alarm(5000, 50'000), alarm(0, 50'000), kShort, false));
}

TEST(TimersReader, SilentTimersLoseNothing) {
  TimerReading before = posix(5000), after = posix(0);
  before.silent = after.silent = true;
  EXPECT_FALSE(may_have_expired(before, after, kShort, false));
}

TEST(PendingSignal, TellsNumberAndTimer) {
  siginfo_t info = {};
  info.si_signo = SIGRTMIN + 1;
  info.si_code = SI_TIMER;
  info.si_timerid = 42;
  model::Process process;
  process.add_pending_signals()->set_siginfo(std::string(reinterpret_cast<const char*>(&info), sizeof info));
  EXPECT_EQ(model::signal_number(process.pending_signals(0)), SIGRTMIN + 1);
  EXPECT_EQ(model::timer_of(process.pending_signals(0)), 42);
  EXPECT_EQ(model::pending_set(process), uint64_t{1} << SIGRTMIN);
  info.si_code = SI_QUEUE;
  process.mutable_pending_signals(0)->set_siginfo(std::string(reinterpret_cast<const char*>(&info), sizeof info));
  EXPECT_EQ(model::timer_of(process.pending_signals(0)), std::nullopt);
  process.mutable_pending_signals(0)->set_siginfo("ab");
  EXPECT_EQ(model::signal_number(process.pending_signals(0)), 0);
  EXPECT_EQ(model::pending_set(process), 0u);
}

}  // namespace
}  // namespace stillpoint
