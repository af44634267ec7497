// A process and all processes below it, stopped together.
#ifndef STILLPOINT_HELPER_TRACEE_FROZEN_TREE_H_
#define STILLPOINT_HELPER_TRACEE_FROZEN_TREE_H_

#include <sys/types.h>

#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "helper/tracee/frozen_process.h"

namespace stillpoint {

// Destroying the object resumes every thread.
class FrozenTree {
 public:
  struct Node {
    pid_t pid = 0;
    pid_t parent = 0;  // in the tree; of the root whoever it is
    FrozenProcess process;
    bool zombie = false;  // `process` holds no thread
  };

  // Freezes `root`, then what it shows as children, and so on: a process that stands still makes no more of them, so
  // when every one that is known stands still and shows no new child, the tree is complete. `left_out` and all below
  // are not touched. DEADLINE_EXCEEDED when the tree grows faster than it can be stopped. On error everything runs on.
  static absl::StatusOr<FrozenTree> freeze(pid_t root, const std::set<pid_t>& left_out, absl::Time deadline);

  // Parents before their children; the root is the first.
  std::vector<Node>& nodes() { return nodes_; }
  const std::vector<Node>& nodes() const { return nodes_; }

 private:
  std::vector<Node> nodes_;
};

// `root` and all processes below it as /proc shows them at this moment; those that run may be gone in the next.
std::vector<pid_t> list_tree(pid_t root, const std::set<pid_t>& left_out);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_TRACEE_FROZEN_TREE_H_
