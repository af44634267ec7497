#include "helper/protocol/in_call.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>

namespace stillpoint::protocol {
namespace {

bool allowed(long number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0) {
  const uint64_t arguments[kMaxInCallArguments] = {a, b, c, d, 0, 0};
  return in_call_allowed(number, arguments);
}

TEST(InCall, AllowsReading) {
  EXPECT_TRUE(allowed(SYS_rt_sigaction, 10, 0, 0x1000, 8));
  EXPECT_TRUE(allowed(SYS_waitid, P_PID, 10, 0x1000, WSTOPPED | WNOHANG | WNOWAIT));
  EXPECT_TRUE(allowed(SYS_sigaltstack, 0, 0x1000));
  EXPECT_TRUE(allowed(SYS_timer_gettime, 1, 0x1000));
  EXPECT_TRUE(allowed(SYS_timer_getoverrun, 1));
  EXPECT_TRUE(allowed(SYS_mincore, 0x1000, 0x1000, 0x2000));
  EXPECT_TRUE(allowed(SYS_getitimer, 0, 0x1000));
  EXPECT_TRUE(allowed(SYS_prctl, PR_GET_PDEATHSIG, 0x1000));
  EXPECT_TRUE(allowed(SYS_prctl, PR_GET_TID_ADDRESS, 0x1000));
  EXPECT_TRUE(allowed(SYS_prctl, PR_GET_CHILD_SUBREAPER, 0x1000));
  EXPECT_TRUE(allowed(SYS_arch_prctl, 0x1022, 0x1000));
  EXPECT_TRUE(allowed(SYS_prlimit64, 0, 7, 0, 0x1000));
  EXPECT_TRUE(allowed(SYS_personality, 0xffffffff));
}

TEST(InCall, RefusesToChangeAnything) {
  EXPECT_FALSE(allowed(SYS_rt_sigaction, 10, 0x1000, 0, 8));
  EXPECT_FALSE(allowed(SYS_waitid, P_PID, 10, 0x1000, WEXITED | WNOHANG));
  EXPECT_FALSE(allowed(SYS_sigaltstack, 0x1000, 0));
  EXPECT_FALSE(allowed(SYS_prctl, PR_SET_PDEATHSIG, 9));
  EXPECT_FALSE(allowed(SYS_prctl, PR_SET_NAME, 0x1000));
  EXPECT_FALSE(allowed(SYS_prctl, PR_SET_DUMPABLE, 0));
  EXPECT_FALSE(allowed(SYS_arch_prctl, 0x1002, 0x1000));  // ARCH_SET_FS
  EXPECT_FALSE(allowed(SYS_prlimit64, 0, 7, 0x1000, 0));
  EXPECT_FALSE(allowed(SYS_personality, 0));
}

TEST(InCall, RefusesEverythingElse) {
  const long numbers[] = {SYS_read, SYS_write, SYS_mmap,   SYS_munmap, SYS_execve, SYS_kill, SYS_exit_group, SYS_ptrace,
                          SYS_fork, SYS_clone, SYS_setuid, SYS_ioctl,  SYS_close,  -1,       100000};
  for (const long number : numbers) EXPECT_FALSE(allowed(number)) << number;
}

}  // namespace
}  // namespace stillpoint::protocol
