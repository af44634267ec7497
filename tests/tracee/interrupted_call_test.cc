#include "helper/tracee/interrupted_call.h"

#include <gtest/gtest.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <optional>

#include "absl/time/clock.h"
#include "target_process.h"

namespace stillpoint {
namespace {

constexpr int64_t kRestartCodes[] = {-512, -513, -514, -516};

GeneralRegisters stopped_in(long number, int64_t result) {
  GeneralRegisters registers{};
  registers.cs = 0x33;
  registers.rip = 0x401002;
  registers.orig_rax = static_cast<uint64_t>(number);
  registers.rax = static_cast<uint64_t>(result);
  registers.rdi = 0x7000;
  registers.rsi = 0x8000;
  registers.rdx = 0x9000;
  return registers;
}

TEST(ReissueTest, CallsThatAStopTurnsIntoEintr) {
  for (const long number : {SYS_epoll_wait, SYS_epoll_pwait, 441, SYS_semop, SYS_semtimedop, SYS_io_getevents,
                            SYS_rt_sigtimedwait, SYS_accept, SYS_connect, SYS_recvfrom, SYS_read, SYS_write}) {
    GeneralRegisters registers = stopped_in(number, -EINTR);
    EXPECT_TRUE(reissue_interrupted_call(registers)) << number;
    EXPECT_EQ(static_cast<int64_t>(registers.rax), -514);
    EXPECT_EQ(static_cast<long>(registers.orig_rax), number) << "the kernel needs it";
    EXPECT_EQ(registers.rip, 0x401002u);
  }
}

TEST(ReissueTest, OthersStay) {
  const auto untouched = [](GeneralRegisters registers) {
    const GeneralRegisters before = registers;
    return !reissue_interrupted_call(registers) && registers.rax == before.rax && registers.rip == before.rip;
  };
  EXPECT_TRUE(untouched(stopped_in(SYS_close, -EINTR)));  // the descriptor is gone
  EXPECT_TRUE(untouched(stopped_in(SYS_ioctl, -EINTR)));  // nobody knows
  EXPECT_TRUE(untouched(stopped_in(SYS_epoll_wait, 3)));  // events
  EXPECT_TRUE(untouched(stopped_in(SYS_epoll_wait, -EBADF)));
  EXPECT_TRUE(untouched(stopped_in(-1, -EINTR)));  // not in a call
  GeneralRegisters compat = stopped_in(SYS_epoll_wait, -EINTR);
  compat.cs = 0x23;
  EXPECT_TRUE(untouched(compat));
}

TEST(PrepareTest, RestartCodesBecomeFreshCalls) {
  for (const int64_t code : kRestartCodes) {
    GeneralRegisters registers = stopped_in(SYS_poll, code);
    ASSERT_TRUE(prepare_for_new_task(registers).ok());
    EXPECT_EQ(registers.rip, 0x401000u);
    EXPECT_EQ(registers.rax, static_cast<uint64_t>(SYS_poll));
    EXPECT_EQ(static_cast<int64_t>(registers.orig_rax), -1);
  }
}

TEST(PrepareTest, FinishedCallsAndPlainCodeStay) {
  for (const long number : {long{SYS_poll}, -1L}) {
    GeneralRegisters registers = stopped_in(number, number < 0 ? -512 : -EINTR);
    const GeneralRegisters before = registers;
    ASSERT_TRUE(prepare_for_new_task(registers).ok());
    EXPECT_EQ(registers.rip, before.rip);
    EXPECT_EQ(registers.rax, before.rax);
  }
}

TEST(PrepareTest, SleepsGoOnWithTheRemainingTime) {
  GeneralRegisters registers = stopped_in(SYS_nanosleep, -516);
  ASSERT_TRUE(prepare_for_new_task(registers).ok());
  EXPECT_EQ(registers.rdi, 0x8000u);

  registers = stopped_in(SYS_nanosleep, -516);
  registers.rsi = 0;
  ASSERT_TRUE(prepare_for_new_task(registers).ok());
  EXPECT_EQ(registers.rdi, 0x7000u) << "no memory for the remaining time: all of it again";

  registers = stopped_in(SYS_clock_nanosleep, -516);
  registers.rsi = 0;
  registers.r10 = 0xa000;
  ASSERT_TRUE(prepare_for_new_task(registers).ok());
  EXPECT_EQ(registers.rdx, 0xa000u);

  registers = stopped_in(SYS_clock_nanosleep, -514);  // absolute
  registers.rsi = TIMER_ABSTIME;
  registers.r10 = 0xa000;
  ASSERT_TRUE(prepare_for_new_task(registers).ok());
  EXPECT_EQ(registers.rdx, 0x9000u);
}

TEST(PrepareTest, HandlerFirst) {
  for (const int64_t code : kRestartCodes) {
    GeneralRegisters registers = stopped_in(SYS_pause, code);
    ASSERT_TRUE(prepare_for_new_task(registers, 0, /*handler_pending=*/true).ok());
    const bool eintr = code == -514 || code == -516;
    EXPECT_EQ(static_cast<int64_t>(registers.rax), eintr ? -EINTR : SYS_pause);
    EXPECT_EQ(static_cast<int64_t>(registers.orig_rax), -1);
  }
}

TEST(PrepareTest, ThirtyTwoBitCodeIsRefused) {
  GeneralRegisters registers = stopped_in(SYS_poll, -516);
  registers.cs = 0x23;
  EXPECT_EQ(prepare_for_new_task(registers).code(), absl::StatusCode::kUnimplemented);
}

TEST(PrepareTest, UnknownContinuedCallIsEintr) {
  GeneralRegisters registers = stopped_in(SYS_restart_syscall, -516);
  ASSERT_TRUE(prepare_for_new_task(registers).ok());
  EXPECT_EQ(static_cast<int64_t>(registers.rax), -EINTR);
  EXPECT_EQ(registers.rip, 0x401002u);
}

// A wait that was stopped once is continued by restart_syscall(2), and the second stop shows only that.
class ContinuedCallTest : public ::testing::Test {
 protected:
  // The registers of `body`, blocked for the second time, made ready for a new task.
  GeneralRegisters prepared(const std::function<int()>& body) {
    sleeper_.emplace(body);
    const pid_t pid = sleeper_->pid();
    EXPECT_TRUE(eventually([&] {
      FrozenProcess frozen = freeze_or_die(pid);
      stopped_ = frozen.threads().front().registers().value();
      return stopped_.orig_rax == SYS_restart_syscall && static_cast<int64_t>(stopped_.rax) == -516;
    }));
    FrozenProcess frozen = freeze_or_die(pid);
    GeneralRegisters registers = stopped_;
    EXPECT_TRUE(prepare_for_new_task(registers, pid).ok());
    EXPECT_EQ(registers.rip, stopped_.rip - 2);
    return registers;
  }

  std::optional<ChildProcess> sleeper_;
  GeneralRegisters stopped_{};
};

constexpr timespec kLong = {1000, 0};

TEST_F(ContinuedCallTest, ClockNanosleep) {
  const GeneralRegisters registers = prepared([] {
    timespec remaining{};
    return ::clock_nanosleep(CLOCK_MONOTONIC, 0, &kLong, &remaining);
  });
  EXPECT_EQ(registers.rax, static_cast<uint64_t>(SYS_clock_nanosleep));
  EXPECT_EQ(registers.rdx, stopped_.r10) << "the remaining time";
}

TEST_F(ContinuedCallTest, Poll) {
  const GeneralRegisters registers = prepared([] { return ::poll(nullptr, 0, 1'000'000); });
  EXPECT_EQ(registers.rax, static_cast<uint64_t>(SYS_poll));
}

// syscall(2) loads the number from memory or a register: the arguments tell.
TEST_F(ContinuedCallTest, FutexWithoutItsNumberInTheCode) {
  const GeneralRegisters registers = prepared([] {
    static int word = 0;
    return static_cast<int>(::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &kLong, nullptr, 0));
  });
  EXPECT_EQ(registers.rax, static_cast<uint64_t>(SYS_futex));
}

TEST_F(ContinuedCallTest, PollWithoutItsNumberInTheCode) {
  const GeneralRegisters registers = prepared([] {
    pollfd entries[] = {{-1, POLLIN, 0}, {-1, POLLOUT, 0}};
    return static_cast<int>(::syscall(SYS_poll, entries, 2, 1'000'000));
  });
  EXPECT_EQ(registers.rax, static_cast<uint64_t>(SYS_poll));
}

}  // namespace
}  // namespace stillpoint
