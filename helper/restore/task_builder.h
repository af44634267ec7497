// Makes one process out of a task that waits as a worker: memory, files, threads; and starts it.
#ifndef STILLPOINT_HELPER_RESTORE_TASK_BUILDER_H_
#define STILLPOINT_HELPER_RESTORE_TASK_BUILDER_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/memory/range.h"
#include "helper/memory/worker_session.h"
#include "helper/model/model.pb.h"
#include "helper/restore/restore_parts.h"
#include "helper/tracee/thread.h"

namespace stillpoint {

// Destroying the builder before release() kills the task: nothing half-restored is left.
class TaskBuilder {
 public:
  // `process` and `session`, which is the task's worker, must outlive the builder.
  TaskBuilder(RestoreParts& parts, const model::Process& process, WorkerSession& session);
  TaskBuilder(const TaskBuilder&) = delete;
  TaskBuilder& operator=(const TaskBuilder&) = delete;
  ~TaskBuilder();

  // Where nothing of the process or the restorer is, nor of `taken`: for its worker and vDSO.
  absl::Status choose_places(std::vector<Range> taken);
  // The cloned task, traced from now on: it dies with the helper.
  absl::Status take(pid_t pid);
  // `shared`: and fills the shared memories, which one process does for all.
  absl::Status build_memory(bool shared);
  absl::Status build_process();
  absl::Status build_threads();
  // Whether it is stopped before its threads have their registers, so that its parent's worker can be told of it.
  bool is_stopped_early() const;
  absl::Status stop_worker();
  absl::Status continue_worker();
  // Gives every thread its registers. Not one instruction of the program has run when it returns.
  // `info_flags`: protocol::RestoredFlags.
  absl::Status prepare_start(uint32_t info_flags);
  // Lets the threads run.
  absl::Status release();

  pid_t pid() const { return process_.pid(); }
  const model::Process& model() const { return process_; }
  const UniqueFd& pidfd() const { return pidfd_; }

 private:
  absl::Status read_pages(bool shared);
  absl::Status read_page_file(uint32_t file, bool shared);
  absl::Status write_restored_info(uint32_t flags);
  absl::Status stop_threads();
  absl::Status end_leader();
  absl::Status unmap_worker(Thread& thread);
  absl::StatusOr<uint64_t> find_syscall_instruction() const;
  absl::Status set_system_call(const Thread& thread, long number, uint64_t a, uint64_t b) const;
  void set_proc_values();

  // The worker's threads: the leader's, which is not among the process's when it had left.
  size_t first_thread() const { return process_.leader_ended() ? 1 : 0; }

  RestoreParts& parts_;
  const model::Process& process_;
  const model::AddressSpace& space_;
  WorkerSession& session_;
  bool stopped_ = false;  // its worker is, by SIGSTOP
  uint64_t vdso_room_ = 0;
  uint64_t syscall_instruction_ = 0;  // in the worker
  std::optional<Thread> leader_;
  std::vector<Thread> threads_;  // of the worker, the leader first
  UniqueFd pidfd_;
};

// What a worker needs to become this process.
SessionSize worker_size(const model::Process& process);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_TASK_BUILDER_H_
