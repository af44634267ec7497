// System calls that a stop interrupted: what the thread gets when it goes on, and what an image says of them.
//
// A blocked system call that is woken returns one of (Linux: include/linux/errno.h)
//   ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND (512-514): made again by the kernel on the way back to user mode,
//   unless
//     a signal handler runs first and the code says EINTR then;
//   ERESTART_RESTARTBLOCK (516): continued by restart_syscall(2) with what the kernel keeps in the task's
//   restart_block:
//     poll (fs/select.c), nanosleep and clock_nanosleep with a relative time (kernel/time/hrtimer.c,
//     posix-cpu-timers.c, alarmtimer.c), futex waits with a timeout (kernel/futex/waitwake.c);
//   EINTR: the application sees it, although there was no signal for it.
// A thread in a ptrace-stop shows the code in rax and the call's number in orig_rax.
#ifndef STILLPOINT_HELPER_TRACEE_INTERRUPTED_CALL_H_
#define STILLPOINT_HELPER_TRACEE_INTERRUPTED_CALL_H_

#include <sys/types.h>

#include "absl/status/status.h"
#include "helper/tracee/thread.h"

namespace stillpoint {

// True when `registers` belong to a thread stopped in a system call that will be restarted or continued.
bool in_restartable_call(const GeneralRegisters& registers);

// For the running application. When a mere stop turned the call into EINTR, makes it ERESTARTNOHAND (true: `registers`
// changed, to be written back while the thread is in its PTRACE_EVENT_STOP). The kernel then decides when the thread
// goes on: a handler that runs first leaves EINTR, as it would have; otherwise the call is made again. A relative
// timeout starts anew. The calls are those that return EINTR only when they have done nothing yet:
//   epoll_wait, epoll_pwait, epoll_pwait2 (fs/eventpoll.c); semop, semtimedop (ipc/sem.c); io_getevents (fs/aio.c);
//   rt_sigtimedwait (kernel/signal.c); io_uring_enter; fallocate on tmpfs and hugetlbfs; sockets with SO_RCVTIMEO or
//   SO_SNDTIMEO (sock_intr_errno() in include/net/sock.h): accept, connect, send, receive, read, write, splice.
bool reissue_interrupted_call(GeneralRegisters& registers);

// For the image: a restart_block does not travel, so that a call stopped with a restart code is made afresh in the new
// task: rip at the system call instruction, rax its number, orig_rax -1. Relative sleeps go on with the remaining time
// where the program gave memory for it (the kernel has written it there already); poll and futex begin their timeout
// anew; absolute times stay.
//
// `tid` (0: unknown) lets code and arguments be read when the call was continued by restart_syscall(2) before, which
// hides its number; a call that cannot be told then returns EINTR, which each of the four may. `handler_pending`: a
// signal with a handler will be delivered first, so that ERESTARTNOHAND and ERESTART_RESTARTBLOCK become EINTR, as the
// kernel does.
absl::Status prepare_for_new_task(GeneralRegisters& registers, pid_t tid = 0, bool handler_pending = false);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_TRACEE_INTERRUPTED_CALL_H_
