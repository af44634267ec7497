// Threads that were seized and interrupted but could not be stopped in time (D state, a vfork parent).
//
// The kernel detaches a thread only while it is stopped, and there is no way to take an interrupt back: such a thread
// would stop when it can at last, and stay so for as long as the helper lives. It is remembered here and detached
// when it stops. When the helper's tracing thread ends, the kernel lets all of them go.
#ifndef STILLPOINT_HELPER_TRACEE_STRAGGLERS_H_
#define STILLPOINT_HELPER_TRACEE_STRAGGLERS_H_

#include <sys/types.h>

#include <cstddef>

namespace stillpoint {

// Detaches those of the calling thread's stragglers that have stopped, without waiting; how many are left. A helper
// that lives on calls this at every SIGCHLD, or every few milliseconds while the result is not 0. freeze() calls it.
size_t detach_stragglers();

// For Thread: remembers a thread that is traced, was interrupted and has not stopped.
void remember_straggler(pid_t tid);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_TRACEE_STRAGGLERS_H_
