// The system calls that the SDK's thread makes for the helper (InCall): those that read the thread's own state and
// change nothing. Whatever else a helper asks for is answered with -EPERM.
#ifndef STILLPOINT_HELPER_PROTOCOL_IN_CALL_H_
#define STILLPOINT_HELPER_PROTOCOL_IN_CALL_H_

#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstddef>
#include <cstdint>

namespace stillpoint::protocol {

inline constexpr size_t kMaxInCallArguments = 6;

namespace internal {

// prctl(2) options that only read. Linux: include/uapi/linux/prctl.h; numbers, since old headers lack the newer names.
constexpr bool prctl_reads(uint64_t option) {
  switch (option) {
    case 2:           // PR_GET_PDEATHSIG
    case 3:           // PR_GET_DUMPABLE
    case 5:           // PR_GET_UNALIGN
    case 7:           // PR_GET_KEEPCAPS
    case 9:           // PR_GET_FPEMU
    case 11:          // PR_GET_FPEXC
    case 13:          // PR_GET_TIMING
    case 16:          // PR_GET_NAME
    case 19:          // PR_GET_ENDIAN
    case 21:          // PR_GET_SECCOMP
    case 23:          // PR_CAPBSET_READ
    case 25:          // PR_GET_TSC
    case 27:          // PR_GET_SECUREBITS
    case 30:          // PR_GET_TIMERSLACK
    case 34:          // PR_MCE_KILL_GET
    case 37:          // PR_GET_CHILD_SUBREAPER
    case 39:          // PR_GET_NO_NEW_PRIVS
    case 40:          // PR_GET_TID_ADDRESS
    case 42:          // PR_GET_THP_DISABLE
    case 46:          // PR_GET_FP_MODE
    case 52:          // PR_GET_SPECULATION_CTRL
    case 56:          // PR_GET_TAGGED_ADDR_CTRL
    case 58:          // PR_GET_IO_FLUSHER
    case 66:          // PR_GET_MDWE
    case 68:          // PR_GET_MEMORY_MERGE
    case 71:          // PR_PPC_GET_DEXCR (refused by x86 kernels)
    case 74:          // PR_GET_SHADOW_STACK_STATUS
    case 0x41555856:  // PR_GET_AUXV
      return true;
    default:
      return false;
  }
}

// Linux: arch/x86/include/uapi/asm/prctl.h.
constexpr bool arch_prctl_reads(uint64_t option) {
  switch (option) {
    case 0x1003:  // ARCH_GET_FS
    case 0x1004:  // ARCH_GET_GS
    case 0x1011:  // ARCH_GET_CPUID
    case 0x1021:  // ARCH_GET_XCOMP_SUPP
    case 0x1022:  // ARCH_GET_XCOMP_PERM
    case 0x1024:  // ARCH_GET_XCOMP_GUEST_PERM
    case 0x4001:  // ARCH_GET_UNTAG_MASK
    case 0x5005:  // ARCH_SHSTK_STATUS
      return true;
    default:
      return false;
  }
}

}  // namespace internal

// True when the call with these arguments (missing ones are 0) reads and changes nothing.
constexpr bool in_call_allowed(int64_t number, const uint64_t (&arguments)[kMaxInCallArguments]) {
  switch (number) {
    case SYS_rt_sigaction:  // (signal, act, oldact, size)
      return arguments[1] == 0;
    case SYS_sigaltstack:  // (stack, old)
      return arguments[0] == 0;
    case SYS_prlimit64:  // (pid, resource, new, old)
      return arguments[2] == 0;
    case SYS_rt_sigprocmask:  // (how, set, old, size)
      return arguments[1] == 0;
    case SYS_brk:  // asks without moving it
      return arguments[0] == 0;
    case SYS_waitid:  // (type, id, info, options, usage): neither waits nor takes anything
      return (arguments[3] & (WNOHANG | WNOWAIT)) == (WNOHANG | WNOWAIT);
    case SYS_personality:  // asks without setting
      return (arguments[0] & 0xffffffff) == 0xffffffff;
    case SYS_prctl:
      return internal::prctl_reads(arguments[0] & 0xffffffff);
    case SYS_arch_prctl:
      return internal::arch_prctl_reads(arguments[0] & 0xffffffff);
    case SYS_mincore:  // (address, length, vector): which pages exist
    case SYS_timer_gettime:
    case SYS_timer_getoverrun:
    case SYS_getitimer:
    case SYS_get_robust_list:
    case SYS_sched_getattr:
    case SYS_sched_getscheduler:
    case SYS_sched_getparam:
    case SYS_sched_getaffinity:
    case SYS_sched_rr_get_interval:
    case SYS_ioprio_get:
    case SYS_getpriority:
    case SYS_getrlimit:
    case SYS_capget:
    case SYS_get_mempolicy:
    case SYS_clock_gettime:
    case SYS_clock_getres:
    case SYS_rt_sigpending:
    case SYS_getpid:
    case SYS_getppid:
    case SYS_gettid:
    case SYS_getpgid:
    case SYS_getsid:
    case SYS_getresuid:
    case SYS_getresgid:
    case SYS_getgroups:
    case SYS_getcpu:
      return true;
    default:
      return false;
  }
}

}  // namespace stillpoint::protocol

#endif  // STILLPOINT_HELPER_PROTOCOL_IN_CALL_H_
