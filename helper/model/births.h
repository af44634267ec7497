// In which order the processes of a tree must be cloned so that parents, sessions and process groups come back.
#ifndef STILLPOINT_HELPER_MODEL_BIRTHS_H_
#define STILLPOINT_HELPER_MODEL_BIRTHS_H_

#include <sys/types.h>

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "helper/model/model.pb.h"

namespace stillpoint::model {

// One task to be cloned by its parent.
struct Birth {
  int process = -1;  // index in Tree.processes; -1: stands in for the leader of a process group that has gone
  pid_t pid = 0;
  int parent = 0;  // index of the birth that clones it; of the root's, its own
  int exit_signal = 0;
  bool new_session = false;  // setsid(2), between `before` and `after`
  std::vector<int> before;   // births that this one clones while it is still in the session it was born in
  std::vector<int> after;
};

struct BirthPlan {
  std::vector<Birth> births;  // the first is the root
  // setpgid(2) calls once all births have happened: birth and group, leaders before those who join them.
  std::vector<std::pair<int, pid_t>> groups;
};

// FAILED_PRECONDITION for a tree that no sequence of clone, setsid and setpgid leads to without the processes that have
// gone (a session whose leader ended and is not in the tree); DATA_LOSS for one that is contradictory.
absl::StatusOr<BirthPlan> plan_births(const Tree& tree);

}  // namespace stillpoint::model

#endif  // STILLPOINT_HELPER_MODEL_BIRTHS_H_
