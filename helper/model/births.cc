#include "helper/model/births.h"

#include <signal.h>

#include <map>
#include <optional>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace stillpoint::model {
namespace {

// The session of the starter, which is not in the image, whatever its number was.
constexpr pid_t kStartersSession = 0;

class BirthPlanner {
 public:
  explicit BirthPlanner(const Tree& tree) : tree_(tree) {}
  absl::StatusOr<BirthPlan> run();

 private:
  absl::Status enter_processes();
  absl::Status order_children();
  absl::Status plan_groups();

  pid_t session_of(const Process& process) const {
    return by_pid_.contains(process.session()) ? process.session() : kStartersSession;
  }
  // The session a process must be born in; none where any will do.
  std::optional<pid_t> birth_session(int index) const;
  void add_stand_in(int member, pid_t group);

  const Tree& tree_;
  BirthPlan plan_;
  std::map<pid_t, int> by_pid_;
  std::vector<std::vector<int>> children_;
};

absl::Status BirthPlanner::enter_processes() {
  std::optional<pid_t> outer_session;
  for (int i = 0; i < tree_.processes_size(); ++i) {
    const Process& process = tree_.processes(i);
    by_pid_[process.pid()] = i;
    Birth birth;
    birth.process = i;
    birth.pid = process.pid();
    // An image of a single process does not say.
    birth.exit_signal = i == 0 && process.exit_signal() == 0 ? SIGCHLD : process.exit_signal();
    birth.new_session = process.session() == process.pid();
    plan_.births.push_back(std::move(birth));
    children_.emplace_back();
    if (i == 0) continue;
    const auto parent = by_pid_.find(process.parent_pid());
    if (parent == by_pid_.end() || parent->second == i) {
      return absl::DataLossError(
          absl::StrCat("pid ", process.pid(), " stands before its parent ", process.parent_pid(), ", or without it"));
    }
    children_[static_cast<size_t>(parent->second)].push_back(i);
    plan_.births.back().parent = parent->second;
  }
  for (const Process& process : tree_.processes()) {
    if (by_pid_.contains(process.session())) continue;
    if (!outer_session.has_value()) outer_session = process.session();
    if (*outer_session != process.session()) {
      return absl::FailedPreconditionError(absl::StrCat("pid ", process.pid(), " is in session ", process.session(),
                                                        ", whose leader is not part of the tree"));
    }
  }
  return absl::OkStatus();
}

std::optional<pid_t> BirthPlanner::birth_session(int index) const {
  const Process& process = tree_.processes(index);
  if (!plan_.births[static_cast<size_t>(index)].new_session) return session_of(process);
  for (const int child : children_[static_cast<size_t>(index)]) {
    const std::optional<pid_t> wanted = birth_session(child);
    if (wanted.has_value() && *wanted != process.pid()) return wanted;
  }
  return std::nullopt;
}

absl::Status BirthPlanner::order_children() {
  for (size_t i = 0; i < children_.size(); ++i) {
    Birth& birth = plan_.births[i];
    const Process& process = tree_.processes(static_cast<int>(i));
    const pid_t own = session_of(process);
    const std::optional<pid_t> old = birth_session(static_cast<int>(i));
    for (const int child : children_[i]) {
      const std::optional<pid_t> wanted = birth_session(child);
      if (!wanted.has_value() || *wanted == own) {
        birth.after.push_back(child);
      } else if (birth.new_session && wanted == old) {
        birth.before.push_back(child);
      } else {
        return absl::FailedPreconditionError(absl::StrCat("pid ", tree_.processes(child).pid(), " is in session ",
                                                          tree_.processes(child).session(), ", which its parent ",
                                                          process.pid(), " was never in"));
      }
    }
  }
  return absl::OkStatus();
}

void BirthPlanner::add_stand_in(int member, pid_t group) {
  Birth birth;
  birth.pid = group;
  birth.parent = member;
  plan_.births[static_cast<size_t>(member)].after.push_back(static_cast<int>(plan_.births.size()));
  plan_.births.push_back(std::move(birth));
}

absl::Status BirthPlanner::plan_groups() {
  const Process& root = tree_.processes(0);
  std::vector<std::pair<int, pid_t>> joining, moving_on;
  std::set<pid_t> led;
  for (int i = 0; i < tree_.processes_size(); ++i) {
    const Process& process = tree_.processes(i);
    const pid_t group = process.process_group();
    // The root's group is that of `stillpoint restart`, which shells and terminals know, unless it leads its session.
    const bool with_root = session_of(root) == kStartersSession && group == root.process_group();
    if (process.session() == process.pid() || process.inherits_group() || with_root) continue;
    if (group != process.pid()) joining.emplace_back(i, group);
    const auto leader = by_pid_.find(group);
    const bool leads_session = leader != by_pid_.end() && tree_.processes(leader->second).session() == group;
    if (leads_session || !led.insert(group).second) continue;
    if (leader == by_pid_.end()) {
      plan_.groups.emplace_back(static_cast<int>(plan_.births.size()), group);
      add_stand_in(i, group);
    } else {
      plan_.groups.emplace_back(leader->second, group);
    }
  }
  for (const auto& [birth, group] : joining) {
    // A leader that has joined another group must not leave its own empty before the others are in it.
    (led.contains(plan_.births[static_cast<size_t>(birth)].pid) ? moving_on : plan_.groups).emplace_back(birth, group);
  }
  plan_.groups.insert(plan_.groups.end(), moving_on.begin(), moving_on.end());
  for (const pid_t group : led) {
    const auto leader = by_pid_.find(group);
    if (leader == by_pid_.end()) continue;
    const Process& process = tree_.processes(leader->second);
    const bool goes_home = process.inherits_group() || process.process_group() == root.process_group();
    if (goes_home && process.process_group() != group && session_of(root) == kStartersSession) {
      return absl::FailedPreconditionError(absl::StrCat(
          "pid ", group, " has gone back to its starter's process group while others are in the one it made"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BirthPlan> BirthPlanner::run() {
  if (const absl::Status status = enter_processes(); !status.ok()) return status;
  if (const absl::Status status = order_children(); !status.ok()) return status;
  if (const absl::Status status = plan_groups(); !status.ok()) return status;
  return std::move(plan_);
}

}  // namespace

absl::StatusOr<BirthPlan> plan_births(const Tree& tree) {
  if (tree.processes().empty()) return absl::DataLossError("the tree holds no process");
  return BirthPlanner(tree).run();
}

}  // namespace stillpoint::model
