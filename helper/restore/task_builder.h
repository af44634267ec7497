// Builds one process in a new task: memory, files, threads; and starts it.
#ifndef STILLPOINT_HELPER_RESTORE_TASK_BUILDER_H_
#define STILLPOINT_HELPER_RESTORE_TASK_BUILDER_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/image/image.h"
#include "helper/memory/range.h"
#include "helper/memory/worker_session.h"
#include "helper/model/model.pb.h"
#include "helper/restore/address_space_plan.h"
#include "helper/restore/credentials.h"
#include "helper/restore/open_files_restorer.h"
#include "helper/restore/restore.h"
#include "helper/tracee/thread.h"

namespace stillpoint {

// Destroying the builder before start() has returned OK kills the task: nothing half-restored is left.
class TaskBuilder {
 public:
  TaskBuilder(const image::ImageReader& image, const model::Tree& tree, const RestoreOptions& options,
              const CallerCredentials& caller, std::vector<std::string>& notes);
  ~TaskBuilder();

  // Opens everything the process will have, as its owner would.
  absl::Status open_files();
  // clone3 with CLONE_* `flags` (CLONE_PARENT or 0); the task waits as a worker, traced, and dies with us.
  absl::Status clone(unsigned long long flags);
  absl::Status build_memory();
  absl::Status build_process();
  absl::Status build_threads();
  // Gives every thread its registers and lets them run. `info_flags`: protocol::RestoredFlags.
  absl::Status start(uint32_t info_flags);

  pid_t pid() const { return pid_; }
  const UniqueFd& pidfd() const { return pidfd_; }

 private:
  absl::Status choose_places();
  absl::Status map_temporaries(CallList& calls);
  absl::Status read_pages();
  absl::Status read_page_file(uint32_t file, const model::AddressSpace& space);
  absl::Status write_restored_info(uint32_t flags);
  absl::Status stop_threads(std::vector<Thread>& threads);
  absl::Status unmap_worker(Thread& leader);
  absl::StatusOr<uint64_t> find_syscall_instruction() const;
  void set_proc_values();

  const model::Process& process() const { return tree_.processes(0); }
  const model::AddressSpace& space() const { return tree_.address_spaces(0); }

  const image::ImageReader& image_;
  const model::Tree& tree_;
  const CallerCredentials& caller_;
  std::vector<std::string>& notes_;
  const RestoreOptions& options_;
  OpenFilesRestorer files_;
  std::map<uint64_t, UniqueFd> mapped_files_;
  std::map<uint32_t, UniqueFd> page_files_;
  std::vector<Range> own_memory_;  // of the restorer when it was cloned
  uint64_t vdso_room_ = 0;
  std::map<uint64_t, uint64_t> temporaries_;  // shared memory id -> address of a mapping of the whole
  std::optional<WorkerSession> session_;
  std::optional<Thread> leader_;
  std::vector<procfs::Mapping> mappings_at_clone_;
  pid_t pid_ = 0;
  UniqueFd pidfd_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_TASK_BUILDER_H_
