// One stopped thread -> model::Thread.
#ifndef STILLPOINT_HELPER_DUMP_THREAD_READER_H_
#define STILLPOINT_HELPER_DUMP_THREAD_READER_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "helper/base/errors.h"
#include "helper/dump/application_calls.h"
#include "helper/model/model.pb.h"
#include "helper/model/pending_signal.h"
#include "helper/tracee/thread.h"

namespace stillpoint {

// What ptrace, /proc and system calls about another task tell, its pending signals left out.
absl::Status read_thread(pid_t pid, const Thread& thread, model::Thread& out);
// Makes of the registers those that a new task starts with: an interrupted system call is re-issued. The pending
// signals of `process` and of the thread have been read: only a signal that the image holds may turn a call into EINTR.
// `caught`: the signals with a handler, bit N-1 for signal N.
absl::Status prepare_thread(const model::Process& process, uint64_t caught, model::Thread& out);

// The signals that wait for `thread` alone, or (`shared`) for any of the process, into `out`, a model::Thread or
// model::Process.
template <typename T>
absl::Status read_pending_signals(const Thread& thread, bool shared, T& out) {
  ASSIGN_OR_RETURN(std::vector<std::string> pending, thread.pending_signals(shared));
  out.clear_pending_signals();
  for (std::string& siginfo : pending) {
    model::clear_private_part(siginfo);
    out.add_pending_signals()->set_siginfo(std::move(siginfo));
  }
  return absl::OkStatus();
}

// What only the thread itself can say: signal stack, clear_child_tid, parent-death signal, timer slack, securebits.
absl::Status ask_thread(ApplicationCalls& calls, model::Thread& out);

// The thread inside checkpoint(): in its next life it comes out of capture_context (helper/protocol/context.h).
absl::Status set_captured_context(pid_t pid, uint64_t context_address, uint64_t signal_mask, model::Thread& out);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_THREAD_READER_H_
