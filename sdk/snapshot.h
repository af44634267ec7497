// The snapshot: a copy-on-write copy of this process, forked by the SDK's thread while every other thread is frozen.
#ifndef STILLPOINT_SDK_SNAPSHOT_H_
#define STILLPOINT_SDK_SNAPSHOT_H_

#include <cstdint>

#include "sdk/detached_clone.h"

namespace stillpoint::sdk {

// Forks a task that shares the fd table (the helper unshares it before the application runs again), waits in recv(2) on
// `control_fd`, and exits when anything or the end comes from there. It is no child of ours. Returns its pid, or
// -errno; -EOPNOTSUPP in a process that is pid 1 of its namespace. Neither allocates nor takes a lock. All signals must
// be blocked.
int64_t fork_snapshot(int control_fd, CloneStacks& stacks);

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_SNAPSHOT_H_
