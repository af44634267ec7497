// Why the kernel does not let us attach, said to whoever asked for it.
#ifndef STILLPOINT_HELPER_TRACEE_REFUSED_ATTACH_H_
#define STILLPOINT_HELPER_TRACEE_REFUSED_ATTACH_H_

#include <sys/types.h>

#include "absl/status/status.h"

namespace stillpoint {

// The error of a PTRACE_SEIZE of `tid` that failed with errno `error`. EPERM is explained, with a remedy: another
// tracer, by pid and name (FAILED_PRECONDITION), a kernel thread (INVALID_ARGUMENT), another user's program, Yama, a
// program that is not dumpable.
absl::Status refused_attach(pid_t tid, int error);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_TRACEE_REFUSED_ATTACH_H_
