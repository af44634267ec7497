// No signal is lost, doubled, reordered or changed by freezing while it arrives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "absl/time/clock.h"
#include "target_process.h"

namespace stillpoint {
namespace {

using ::testing::HasSubstr;

void queue_signal(pid_t pid, int signal, int value) {
  sigval payload{};
  payload.sival_int = value;
  while (::sigqueue(pid, signal, payload) != 0) {
    ASSERT_EQ(errno, EAGAIN);  // RLIMIT_SIGPENDING
    absl::SleepFor(absl::Milliseconds(1));
  }
}

TEST(SignalTest, QueuedWhileFreezing) {
  constexpr int kSignals = 1500;
  TargetProcess target({"blocked", "64"});
  const CodeGadgets gadgets = gadgets_of(target.pid());
  std::thread sender([&] {
    for (int i = 0; i < kSignals; ++i) {
      queue_signal(target.pid(), SIGRTMIN, i);
      queue_signal(target.pid(), SIGRTMIN + 1, i);
      absl::SleepFor(absl::Microseconds(150));
    }
  });
  for (int i = 0; i < 100; ++i) {
    FrozenProcess frozen = freeze_or_die(target.pid());
    if (i % 2 == 0) {
      Thread& thread = frozen.threads()[static_cast<size_t>(i) % frozen.threads().size()];
      auto calls = RemoteCalls::begin(thread, target.pid(), gadgets);
      EXPECT_TRUE(calls.ok()) << calls.status();
      EXPECT_EQ(calls->call(SYS_gettid).value(), thread.tid());
    }
    absl::SleepFor(absl::Microseconds(100 * (i % 5)));
    EXPECT_TRUE(frozen.thaw().ok());
  }
  sender.join();
  // The last ones are taken before the end if the target sees nothing pending any more.
  ASSERT_TRUE(eventually([&] {
    const auto status = procfs::read_status(target.pid(), target.pid());
    return status.ok() && status->shared_pending == 0;
  }));
  const std::string said = target.finish();
  EXPECT_THAT(said, HasSubstr("handled " + std::to_string(kSignals)));
  EXPECT_THAT(said, HasSubstr("waited " + std::to_string(kSignals)));
}

TEST(SignalTest, PendingSignalsAreShownWithTheirSiginfo) {
  TargetProcess target({"blocked", "10"});
  FrozenProcess frozen = freeze_or_die(target.pid());
  constexpr int kSignals = 50;
  for (int i = 0; i < kSignals; ++i) queue_signal(target.pid(), SIGRTMIN + 2, 1000 + i);
  ASSERT_EQ(::syscall(SYS_tgkill, target.pid(), target.pid(), SIGUSR1), 0);

  const auto shared = frozen.threads().front().pending_signals(true);
  ASSERT_TRUE(shared.ok()) << shared.status();
  ASSERT_EQ(shared->size(), static_cast<size_t>(kSignals));
  for (int i = 0; i < kSignals; ++i) {
    siginfo_t info{};
    ASSERT_EQ((*shared)[static_cast<size_t>(i)].size(), sizeof info);
    std::memcpy(&info, (*shared)[static_cast<size_t>(i)].data(), sizeof info);
    EXPECT_EQ(info.si_signo, SIGRTMIN + 2);
    EXPECT_EQ(info.si_value.sival_int, 1000 + i);
  }
  const auto own = frozen.threads().front().pending_signals(false);
  ASSERT_TRUE(own.ok()) << own.status();
  ASSERT_EQ(own->size(), 1u);
  siginfo_t info{};
  std::memcpy(&info, own->front().data(), sizeof info);
  EXPECT_EQ(info.si_signo, SIGUSR1);
  EXPECT_EQ(info.si_code, SI_TKILL);
}

}  // namespace
}  // namespace stillpoint
