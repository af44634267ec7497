// Builds a process tree from an image, and starts it.
#ifndef STILLPOINT_HELPER_RESTORE_TREE_BUILDER_H_
#define STILLPOINT_HELPER_RESTORE_TREE_BUILDER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "helper/base/unique_fd.h"
#include "helper/memory/worker_session.h"
#include "helper/model/births.h"
#include "helper/restore/restore_parts.h"
#include "helper/restore/skeleton.h"
#include "helper/restore/task_builder.h"

namespace stillpoint {

// Destroying the builder before start() has returned OK ends every task: nothing half-restored is left.
class TreeBuilder {
 public:
  TreeBuilder(const image::ImageReader& image, const model::Tree& tree, const RestoreOptions& options,
              const CallerCredentials& caller, std::vector<std::string>& notes)
      : parts_(image, tree, options, caller, notes) {}
  TreeBuilder(const TreeBuilder&) = delete;
  TreeBuilder& operator=(const TreeBuilder&) = delete;
  ~TreeBuilder();

  // Opens everything the processes will have, as the root's owner would.
  absl::Status open_files();
  // All tasks, the root with CLONE_* `flags` (CLONE_PARENT or 0): they wait as workers, and end with us.
  absl::Status clone(unsigned long long flags);
  // What they are: memory, files, process groups, zombies, threads.
  absl::Status build();
  // Lets the program run. `info_flags`: protocol::RestoredFlags.
  absl::Status start(uint32_t info_flags);

  const UniqueFd& root_pidfd() const { return processes_.front()->pidfd(); }

 private:
  absl::Status open_for_read_only_mappings();
  absl::Status create_sessions();
  absl::Status choose_places();
  absl::Status map_temporaries();
  void unmap_temporaries();
  absl::Status unmap_temporaries_of_mortals();
  absl::Status take_tasks();
  absl::Status join_groups();
  absl::Status end_mortals();
  absl::Status stop_processes();
  absl::Status stop_process(TaskBuilder& process, size_t birth);

  // Tasks that are there for a while only: stand-ins for group leaders that have gone, and zombies to be.
  bool is_mortal(const model::Birth& birth) const;
  absl::Status end_stand_in(size_t birth);
  absl::Status end_zombie(size_t birth);
  WorkerClient& parent_of(size_t birth) const;

  RestoreParts parts_;
  model::BirthPlan plan_;
  std::vector<WorkerSession> sessions_;  // one for each birth
  std::optional<Skeleton> skeleton_;
  std::vector<std::unique_ptr<TaskBuilder>> processes_;  // the living ones, the root first
  std::vector<UniqueFd> pidfds_;                         // of every birth
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_TREE_BUILDER_H_
