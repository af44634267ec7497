#include "tests/model/message_mutator.h"

#include <gtest/gtest.h>

#include <set>

#include "helper/model/model.pb.h"

namespace stillpoint {
namespace {

std::string small_tree() {
  model::Tree tree;
  model::Process& process = *tree.add_processes();
  process.set_pid(100);
  process.add_threads()->set_tid(100);
  tree.mutable_clocks()->set_monotonic_ns(-5);
  tree.add_open_files()->set_detail("\xff\xfe no message");
  return tree.SerializeAsString();
}

TEST(MessageMutator, MostMutationsParse) {
  MessageMutator mutator(1);
  std::set<std::string> different;
  int parsed = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::string bytes = mutator.mutate(small_tree());
    model::Tree tree;
    // Not all: bytes that were moved to where a message belongs may be none.
    if (tree.ParseFromString(bytes)) ++parsed;
    different.insert(bytes);
  }
  EXPECT_GT(parsed, 1600);
  EXPECT_GT(different.size(), 1000u);
}

TEST(MessageMutator, ReachesNestedFields) {
  MessageMutator mutator(2);
  bool thread_changed = false, clock_changed = false, repeated = false;
  for (int round = 0; round < 2000; ++round) {
    model::Tree tree;
    if (!tree.ParseFromString(mutator.mutate(small_tree()))) continue;
    for (const model::Process& process : tree.processes()) {
      for (const model::Thread& thread : process.threads()) thread_changed |= thread.tid() != 100;
    }
    clock_changed |= tree.clocks().monotonic_ns() != -5;
    repeated |= tree.processes_size() > 10;
  }
  EXPECT_TRUE(thread_changed && clock_changed && repeated);
}

TEST(MessageMutator, OneSeedIsOneSequence) {
  MessageMutator one(3), other(3);
  for (int round = 0; round < 100; ++round) ASSERT_EQ(one.mutate(small_tree()), other.mutate(small_tree()));
}

}  // namespace
}  // namespace stillpoint
