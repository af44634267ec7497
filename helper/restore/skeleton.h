// The skeleton of a process tree: every task is there, with its pid, parent and session, and waits as a worker for what
// it is to become. Each task is cloned by its parent, all of them from the restorer's own image.
#ifndef STILLPOINT_HELPER_RESTORE_SKELETON_H_
#define STILLPOINT_HELPER_RESTORE_SKELETON_H_

#include <sys/types.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/memory/worker_session.h"
#include "helper/model/births.h"

namespace stillpoint {

class Skeleton {
 public:
  // `sessions` belong to the births of `plan`, one each, and have been placed. Both must outlive the object.
  Skeleton(const model::BirthPlan& plan, const std::vector<WorkerSession>& sessions)
      : plan_(plan), sessions_(sessions) {}
  Skeleton(const Skeleton&) = delete;
  Skeleton& operator=(const Skeleton&) = delete;

  // Clones the root with CLONE_* `flags` (CLONE_PARENT or 0), and waits until every task of the tree is there. On error
  // whatever was cloned is on its way out.
  absl::Status clone(unsigned long long flags);
  // Lets the tasks become workers; before that each of them ends when this object does. Once they are traced.
  absl::Status release();

 private:
  struct Report;
  [[noreturn]] void live(int birth) const;
  void clone_children(const std::vector<int>& children) const;
  [[noreturn]] void fail(int birth, int step, int error) const;
  void report(int birth, int step, int error) const;
  absl::Status receive_reports() const;

  const model::BirthPlan& plan_;
  const std::vector<WorkerSession>& sessions_;
  UniqueFd go_reader_, go_writer_, report_reader_, report_writer_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_SKELETON_H_
