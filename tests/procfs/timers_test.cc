#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_replace.h"
#include "helper/procfs/process_files.h"
#include "tests/procfs/kernel_texts.h"
#include "tests/procfs/waiting_child.h"

namespace stillpoint::procfs {
namespace {

using testing::HasSubstr;

TEST(ParseTimers, EveryNotification) {
  const auto timers = parse_timers(kTimers);
  ASSERT_TRUE(timers.ok()) << timers.status();
  ASSERT_EQ(timers->size(), 4u);
  EXPECT_EQ((*timers)[0].id, 0);
  EXPECT_EQ((*timers)[0].signal, SIGALRM);
  EXPECT_EQ((*timers)[0].notify, SIGEV_SIGNAL);
  EXPECT_EQ((*timers)[0].notify_pid, 2634);
  EXPECT_EQ((*timers)[1].signal_value, 0x7fff86e452a8u);
  EXPECT_EQ((*timers)[1].notify, SIGEV_SIGNAL | SIGEV_THREAD_ID);
  EXPECT_EQ((*timers)[1].notify_pid, 2636);
  EXPECT_EQ((*timers)[1].clock, CLOCK_MONOTONIC);
  EXPECT_EQ((*timers)[2].notify, SIGEV_NONE);
  EXPECT_EQ((*timers)[2].clock, -6);
  EXPECT_EQ((*timers)[2].signal_value, ~uint64_t{0});
  EXPECT_EQ((*timers)[3].notify, SIGEV_THREAD);
}

TEST(ParseTimers, NoTimers) {
  const auto timers = parse_timers("");
  ASSERT_TRUE(timers.ok());
  EXPECT_TRUE(timers->empty());
}

TEST(ParseTimers, LinesOfLaterKernelsArePassedOver) {
  const auto timers = parse_timers(absl::StrReplaceAll(kTimers, {{"ClockID: 0\n", "ClockID: 0\nOverrun: 3\n"}}));
  ASSERT_TRUE(timers.ok()) << timers.status();
  EXPECT_EQ(timers->size(), 4u);
}

TEST(ParseTimers, RefusesMalformed) {
  for (const auto& [from, to] :
       {std::pair("ID: 5", "ID: x"), std::pair("signal: 60/", "signal: 60"),
        std::pair("notify: none", "notify: nobody"), std::pair("/tid.", "/cpu."), std::pair("ClockID: 7\n", ""),
        std::pair("ID: 0\n", ""), std::pair("ClockID: 1", "ClockID: 99999999999")}) {
    const std::string text = absl::StrReplaceAll(kTimers, {{from, to}});
    ASSERT_NE(text, kTimers);
    EXPECT_THAT(std::string(parse_timers(text).status().message()), HasSubstr("timers line")) << to;
  }
}

int create_timer(clockid_t clock, int notify, int signal, void* value, pid_t tid = 0) {
  sigevent event = {};
  event.sigev_notify = notify;
  event.sigev_signo = signal;
  event.sigev_value.sival_ptr = value;
  event._sigev_un._tid = tid;
  int id = -1;
  return ::syscall(SYS_timer_create, clock, &event, &id) == 0 ? id : -1;
}

TEST(ReadTimers, ChildWithTimers) {
  const WaitingChild child([] {
    const bool created =
        create_timer(CLOCK_REALTIME, SIGEV_SIGNAL, SIGUSR1, reinterpret_cast<void*>(0x1234567890abcdef)) >= 0 &&
        create_timer(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMAX, nullptr, ::gettid()) >= 0 &&
        create_timer(CLOCK_PROCESS_CPUTIME_ID, SIGEV_NONE, SIGUSR2, nullptr) >= 0;
    return created;
  });
  ASSERT_TRUE(child.ready());
  const auto timers = read_timers(child.pid());
  if (absl::IsNotFound(timers.status())) GTEST_SKIP() << "no /proc/PID/timers (CONFIG_CHECKPOINT_RESTORE)";
  ASSERT_TRUE(timers.ok()) << timers.status();
  ASSERT_EQ(timers->size(), 3u);
  for (const TimerLine& timer : *timers) {
    if (timer.clock == CLOCK_REALTIME) {
      EXPECT_EQ(timer.signal, SIGUSR1);
      EXPECT_EQ(timer.signal_value, 0x1234567890abcdefu);
      EXPECT_EQ(timer.notify, SIGEV_SIGNAL);
      EXPECT_EQ(timer.notify_pid, child.pid());
    } else if (timer.clock == CLOCK_MONOTONIC) {
      EXPECT_EQ(timer.signal, SIGRTMAX);
      EXPECT_EQ(timer.notify, SIGEV_SIGNAL | SIGEV_THREAD_ID);
      EXPECT_EQ(timer.notify_pid, child.pid());
    } else {
      EXPECT_EQ(timer.notify, SIGEV_NONE);
    }
  }
}

}  // namespace
}  // namespace stillpoint::procfs
