// Following a program into the namespaces that a restart gave it.
#ifndef STILLPOINT_HELPER_SERVICE_NAMESPACES_H_
#define STILLPOINT_HELPER_SERVICE_NAMESPACES_H_

#include <sys/types.h>

#include "absl/status/statusor.h"

namespace stillpoint {

// A restarted program may have pid, user, mount and time namespaces of its own, and is dumped from inside them: pids
// and clocks are then what the program knows. When process `pid` (`pidfd`) has such, and the root directory that we
// have, this helper goes on in a child of itself that has joined them, while the parent waits and ends as the child
// ends. Returns, in whoever goes on, the process's pid as seen there. Where there is nothing to join, or other
// namespaces differ too, `pid` as it is: the audit finds what stands in the way. Joining takes no right that the kernel
// does not give this process anyway.
absl::StatusOr<pid_t> join_namespaces(pid_t pid, int pidfd);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_SERVICE_NAMESPACES_H_
