// A worker in a task: its code, its memory, and a client for each of its threads.
//
//   ASSIGN_OR_RETURN(WorkerSession session, WorkerSession::create({.thread_count = 3}));
//   RETURN_IF_ERROR(session.place(free_address));            // a hole of session.region_size() bytes in the task
//   if (clone() == 0) session.enter();                       // the child is the worker from now on, or
//   ... make session.mapping_calls(code_fd, control_fd) in a stopped task, set session.start_registers() there
//   session.watch(std::move(pidfd), "snapshot");
//   session.main().write_pages(...);
#ifndef STILLPOINT_HELPER_MEMORY_WORKER_SESSION_H_
#define STILLPOINT_HELPER_MEMORY_WORKER_SESSION_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "helper/base/unique_fd.h"
#include "helper/memory/range.h"
#include "helper/memory/worker_abi.h"
#include "helper/memory/worker_client.h"
#include "helper/memory/worker_layout.h"

namespace stillpoint {

// For a stopped task: set these, and block every signal first. All other registers may hold anything.
struct WorkerRegisters {
  uint64_t rip = 0, rsp = 0, rdi = 0;
};

class WorkerSession {
 public:
  // INVALID_ARGUMENT for sizes that make no sense; otherwise what memfd_create, ftruncate, mmap or fcntl said.
  static absl::StatusOr<WorkerSession> create(const SessionSize& size);
  WorkerSession(WorkerSession&&) noexcept;
  WorkerSession& operator=(WorkerSession&&) noexcept;
  ~WorkerSession();  // unmaps the helper's view; a worker still running is left alone

  uint64_t region_size() const;
  // The helper's own fds (close-on-exec). The code is sealed against writing, shrinking and growing.
  int code_fd() const;
  int control_fd() const;

  // Fixes the region's address in the task, a multiple of the page size. Before anything below.
  absl::Status place(uint64_t base);
  Range region() const;

  // The system calls that map the region in the task, in which the two fds have these numbers; they may be closed
  // there afterwards. Calls without flags may fail.
  std::vector<worker::Call> mapping_calls(int code_fd, int control_fd) const;
  WorkerRegisters start_registers() const;

  // In a child cloned from the helper (not sharing its memory): blocks all signals, forgets what the C library told
  // the kernel about this thread (rseq, robust list, clear_child_tid, signal stack), maps the region and becomes the
  // worker. Allocates nothing. Where a mapping fails the child exits and the clients report it.
  [[noreturn]] void enter() const;

  // Lets every client notice the task's death. `name` is for messages: "the snapshot died (signal 7) while writing
  // pages". The exit status stays to be collected by whoever waits for the task. A task being traced that is about to
  // die of a signal (stopped with it) is as good as dead.
  void watch(UniqueFd pidfd, absl::string_view name);
  void set_liveness(const WorkerClient::Liveness& liveness);
  void set_patience(absl::Duration patience);

  WorkerClient& main() const { return client(0); }
  WorkerClient& client(int index) const;  // 0 <= index < thread_count
  int thread_count() const;

  // Makes the main thread start threads 1.. with the given tids (0: any), so that client(1)... may be used. Returns
  // their tids in the task's pid namespace. A tid other than 0 needs CAP_CHECKPOINT_RESTORE there.
  absl::StatusOr<std::vector<pid_t>> spawn(absl::Span<const pid_t> tids);

 private:
  struct State;
  explicit WorkerSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_WORKER_SESSION_H_
