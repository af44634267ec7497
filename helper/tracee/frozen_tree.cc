#include "helper/tracee/frozen_tree.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

// OK with no thread: it is a zombie. NOT_FOUND: it has gone altogether.
absl::StatusOr<FrozenProcess> freeze_or_find_ended(pid_t pid, absl::StatusOr<Thread> caught, absl::Time deadline,
                                                   bool& zombie) {
  absl::StatusOr<FrozenProcess> process = absl::NotFoundError("");
  if (caught.ok()) {
    process = FrozenProcess::freeze(pid, *std::move(caught), deadline);
  } else if (absl::IsUnavailable(caught.status())) {
    process = FrozenProcess::freeze(pid, deadline);
  } else {
    process = caught.status();
  }
  zombie = false;
  if (process.ok() || !absl::IsNotFound(process.status())) return process;
  const absl::StatusOr<procfs::Stat> stat = procfs::read_stat(pid);
  if (!stat.ok() || stat->state != 'Z') return process.status();
  zombie = true;
  return FrozenProcess();
}

}  // namespace

std::vector<pid_t> list_tree(pid_t root, const std::set<pid_t>& left_out) {
  std::vector<pid_t> pids = {root};
  for (size_t i = 0; i < pids.size(); ++i) {
    const absl::StatusOr<std::vector<pid_t>> children = procfs::read_children(pids[i]);
    if (!children.ok()) continue;
    for (const pid_t child : *children) {
      const bool known = std::find(pids.begin(), pids.end(), child) != pids.end();
      if (!known && !left_out.contains(child)) pids.push_back(child);
    }
  }
  return pids;
}

absl::StatusOr<FrozenTree> FrozenTree::freeze(pid_t root, const std::set<pid_t>& left_out, absl::Time deadline) {
  FrozenTree tree;
  std::set<pid_t> known = left_out;
  const auto add = [&](pid_t pid, pid_t parent, absl::StatusOr<Thread> caught) -> absl::Status {
    bool zombie = false;
    ASSIGN_OR_RETURN(FrozenProcess process, freeze_or_find_ended(pid, std::move(caught), deadline, zombie));
    known.insert(pid);
    tree.nodes_.push_back({pid, parent, std::move(process), zombie});
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(add(root, 0, absl::UnavailableError("not tried")));
  if (tree.nodes_.front().zombie) return absl::NotFoundError(absl::StrCat("pid ", root, " has ended"));
  // A parent that was frozen after its child's orphans came to it may show more of them: until nothing new is seen.
  for (bool any_new = true; any_new;) {
    any_new = false;
    for (size_t i = 0; i < tree.nodes_.size(); ++i) {
      if (tree.nodes_[i].zombie) continue;
      const pid_t parent = tree.nodes_[i].pid;
      ASSIGN_OR_RETURN(std::vector<pid_t> children, procfs::read_children(parent));
      std::erase_if(children, [&](pid_t child) { return known.contains(child); });
      if (children.empty()) continue;
      // One that has gone by now counts as well: its children have come to somebody who was looked at before, and the
      // list may have skipped an entry in its place.
      any_new = true;
      if (absl::Now() >= deadline) {
        return absl::DeadlineExceededError(absl::StrCat("the tree below pid ", root,
                                                        " grows faster than it can be stopped (", tree.nodes_.size(),
                                                        " processes so far)"));
      }
      // The youngest first and all before any is waited for: where processes come and go, they are those still there.
      std::map<pid_t, absl::StatusOr<Thread>> caught;
      for (auto child = children.rbegin(); child != children.rend(); ++child) {
        caught.emplace(*child, FrozenProcess::catch_leader(*child));
      }
      for (auto& [child, leader] : caught) {
        const absl::Status added = add(child, parent, std::move(leader));
        if (absl::IsNotFound(added)) continue;
        RETURN_IF_ERROR(with_context(added, absl::StrCat("child of pid ", parent)));
      }
    }
  }
  return tree;
}

}  // namespace stillpoint
