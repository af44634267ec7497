// Cloning the task that becomes the restored process.
#ifndef STILLPOINT_HELPER_RESTORE_TASK_H_
#define STILLPOINT_HELPER_RESTORE_TASK_H_

#include <sys/types.h>

#include <functional>

#include "absl/status/statusor.h"

namespace stillpoint {

// clone3(2) of the calling process, as fork(2) but with the pid chosen by the caller (0: any) and CLONE_* `flags`. With
// CLONE_PARENT in `flags` the exit signal is the caller's own. `child` runs in the new task and must not return; only
// async-signal-safe functions may be used there. ALREADY_EXISTS: the pid is taken; PERMISSION_DENIED: no capability for
// it.
absl::StatusOr<pid_t> clone_task(pid_t pid, int exit_signal, unsigned long long flags,
                                 const std::function<void()>& child);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_TASK_H_
