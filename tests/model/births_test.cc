#include "helper/model/births.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <vector>

namespace stillpoint::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

struct P {
  int pid = 0, parent = 0, group = 0, session = 0;
};

Tree tree_of(const std::vector<P>& processes) {
  Tree tree;
  for (const P& p : processes) {
    Process& process = *tree.add_processes();
    process.set_pid(p.pid);
    process.set_parent_pid(p.parent);
    process.set_process_group(p.group);
    process.set_session(p.session);
  }
  return tree;
}

// What clone, setsid and setpgid would make of the plan; the starter's session and group are 1.
std::map<int, P> carried_out(const BirthPlan& plan) {
  std::map<int, P> made;
  const std::function<void(int, int)> live = [&](int index, int parent) {
    const Birth& birth = plan.births[static_cast<size_t>(index)];
    const P starter = {0, 0, 1, 1};
    const P& before = parent == 0 ? starter : made[parent];
    made[birth.pid] = {birth.pid, parent, before.group, before.session};
    for (const int child : birth.before) live(child, birth.pid);
    if (birth.new_session) made[birth.pid].session = made[birth.pid].group = birth.pid;
    for (const int child : birth.after) live(child, birth.pid);
  };
  live(0, 0);
  for (const auto& [birth, group] : plan.groups) {
    P& self = made[plan.births[static_cast<size_t>(birth)].pid];
    const bool there = std::any_of(made.begin(), made.end(), [&, g = group](const auto& entry) {
      return entry.second.group == g && entry.second.session == self.session;
    });
    EXPECT_TRUE(group == self.pid || there) << "pid " << self.pid << " cannot join group " << group;
    self.group = group;
  }
  return made;
}

void expect_reached(const std::vector<P>& wanted) {
  const auto plan = plan_births(tree_of(wanted));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::map<int, P> made = carried_out(*plan);
  const auto there = [&](int pid) {
    return std::any_of(wanted.begin(), wanted.end(), [&](const P& p) { return p.pid == pid; });
  };
  const P& root = wanted.front();
  for (const P& p : wanted) {
    const P& got = made.at(p.pid);
    if (p.pid != root.pid) {
      EXPECT_EQ(got.parent, p.parent) << p.pid;
    }
    EXPECT_EQ(got.session, there(p.session) ? p.session : 1) << p.pid;
    const bool starters = !there(root.session) && p.group == root.group;
    EXPECT_EQ(got.group, starters ? 1 : p.group) << p.pid;
  }
}

TEST(Births, OneProcessTakesItsStartersSessionAndGroup) {
  const auto plan = plan_births(tree_of({{100, 50, 100, 50}}));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_FALSE(plan->births[0].new_session);
  EXPECT_THAT(plan->groups, IsEmpty());
}

TEST(Births, APipelineOfTheStartersGroup) {
  expect_reached({{100, 50, 40, 40}, {101, 100, 40, 40}, {102, 100, 40, 40}});
}

TEST(Births, GroupsAreMadeBeforeTheyAreJoined) {
  expect_reached({{100, 50, 40, 40}, {101, 100, 102, 40}, {102, 100, 102, 40}, {103, 100, 103, 40}});
}

TEST(Births, ChildrenBornBeforeAndAfterTheirParentsSetsid) {
  expect_reached({{100, 50, 40, 40}, {101, 100, 101, 101}, {102, 101, 40, 40}, {103, 101, 101, 101}});
}

TEST(Births, ALeaderWhoseChildIsOfTheOldSessionIsBornThereToo) {
  expect_reached({{100, 50, 40, 40}, {101, 100, 101, 101}, {102, 101, 102, 102}, {103, 102, 101, 101}});
}

TEST(Births, ALeaderThatHasGoneIsStoodInFor) {
  const std::vector<P> wanted = {{100, 50, 40, 40}, {102, 100, 101, 40}, {103, 100, 101, 40}};
  expect_reached(wanted);
  const auto plan = plan_births(tree_of(wanted));
  ASSERT_EQ(plan->births.size(), 4u);
  EXPECT_EQ(plan->births[3].process, -1);
  EXPECT_EQ(plan->births[3].pid, 101);
  EXPECT_EQ(plan->births[3].exit_signal, 0);
  EXPECT_THAT(plan->groups, ElementsAre(Pair(3, 101), Pair(1, 101), Pair(2, 101)));
}

TEST(Births, ALeaderThatJoinedAnotherGroupLeavesItsOwnLast) {
  expect_reached({{100, 50, 40, 40}, {101, 100, 102, 40}, {102, 100, 102, 40}, {103, 100, 101, 40}});
}

TEST(Births, ASessionWhoseLeaderIsNotThereIsRefused) {
  // One session outside the tree is the starter's; of two, one has lost its leader.
  const auto two = plan_births(tree_of({{100, 50, 40, 40}, {101, 100, 90, 90}}));
  EXPECT_EQ(two.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(two.status().message()), HasSubstr("session 90"));
  // A brother cannot have been born in the session that 101 made.
  const auto brother = plan_births(tree_of({{100, 50, 40, 40}, {101, 100, 101, 101}, {102, 100, 101, 101}}));
  EXPECT_THAT(std::string(brother.status().message()), HasSubstr("which its parent 100 was never in"));
}

TEST(Births, AParentThatIsMissingOrLaterIsDamage) {
  EXPECT_EQ(plan_births(tree_of({{100, 50, 40, 40}, {101, 102, 40, 40}, {102, 100, 40, 40}})).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(plan_births(tree_of({{100, 50, 40, 40}, {101, 101, 40, 40}})).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(plan_births(Tree()).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace stillpoint::model
