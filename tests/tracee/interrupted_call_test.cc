#include "helper/tracee/interrupted_call.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

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

// A sleep that was stopped once is continued by restart_syscall(2); the second stop shows only that.
TEST(PrepareTest, ContinuedCallIsFoundInTheCode) {
  ChildProcess sleeper([] {
    const timespec time = {1000, 0};
    timespec remaining{};
    return ::clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &remaining);
  });
  ASSERT_TRUE(eventually([&] { return state_of(sleeper.pid(), sleeper.pid()) == 'S'; }));
  freeze_or_die(sleeper.pid());
  GeneralRegisters registers{};
  ASSERT_TRUE(eventually([&] {
    FrozenProcess frozen = freeze_or_die(sleeper.pid());
    registers = frozen.threads().front().registers().value();
    return registers.orig_rax == SYS_restart_syscall && static_cast<int64_t>(registers.rax) == -516;
  }));
  const uint64_t rip = registers.rip, remaining = registers.r10;
  FrozenProcess frozen = freeze_or_die(sleeper.pid());
  ASSERT_TRUE(prepare_for_new_task(registers, sleeper.pid()).ok());
  EXPECT_EQ(registers.rax, static_cast<uint64_t>(SYS_clock_nanosleep));
  EXPECT_EQ(registers.rip, rip - 2);
  EXPECT_EQ(registers.rdx, remaining);
}

}  // namespace
}  // namespace stillpoint
