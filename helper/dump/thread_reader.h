// One stopped thread -> model::Thread.
#ifndef STILLPOINT_HELPER_DUMP_THREAD_READER_H_
#define STILLPOINT_HELPER_DUMP_THREAD_READER_H_

#include <sys/types.h>

#include "absl/status/status.h"
#include "helper/dump/application_calls.h"
#include "helper/model/model.pb.h"
#include "helper/tracee/thread.h"

namespace stillpoint {

// What ptrace, /proc and system calls about another task tell. The registers in the model are those a new task
// starts with: an interrupted system call is made to be re-issued, a restartable sequence aborted.
// `process`: its pending signals have been read. Only a signal that the image holds may turn a call into EINTR: timers
// fire on while the process stands still.
absl::Status read_thread(pid_t pid, const Thread& thread, const model::Process& process, model::Thread& out);

// What only the thread itself can say: signal stack, clear_child_tid, parent-death signal, timer slack, securebits.
absl::Status ask_thread(ApplicationCalls& calls, model::Thread& out);

// The thread inside checkpoint(): in its next life it comes out of capture_context (helper/protocol/context.h).
absl::Status set_captured_context(pid_t pid, uint64_t context_address, uint64_t signal_mask, model::Thread& out);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_THREAD_READER_H_
