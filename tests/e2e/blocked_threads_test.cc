// 64 threads in every blocking call, with timers, signals and AVX arithmetic, through hundreds of checkpoints and
// dozens of lives: not one wrong value and not one EINTR without a signal. The programs check themselves and report
// (programs/parts).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/e2e/support/program_job.h"
#include "tests/e2e/support/self_checkpointing.h"

namespace stillpoint::e2e {
namespace {

using ::testing::IsEmpty;

class BlockedThreads : public ::testing::Test {
 protected:
  std::string report() const { return job_.path("report"); }

  // Every thread has moved since now, and none complains.
  ::testing::AssertionResult all_go_on() {
    const size_t before = count_lines(read_file(report()));
    const bool moved = eventually([&] { return count_lines(read_file(report())) >= before + 2 || !job_.running(); });
    const std::string errors = errors_in(report());
    if (!errors.empty()) return ::testing::AssertionFailure() << errors;
    if (!job_.running()) return ::testing::AssertionFailure() << "the program ended";
    if (!moved) return ::testing::AssertionFailure() << "no heartbeat: " << read_file(report());
    return ::testing::AssertionSuccess();
  }

  void checkpoint_often(const std::map<std::string, std::string>& environment) {
    job_.start({built_program("blocked_threads"), report()});
    ASSERT_TRUE(all_go_on());
    for (int i = 0; i < rounds(50); ++i) {
      const Outcome outcome = job_.checkpoint({"--keep", "1"}, environment);
      ASSERT_EQ(outcome.exit_code, 0) << "checkpoint " << i << ": " << outcome.output;
      ASSERT_TRUE(all_go_on()) << "after checkpoint " << i;
    }
  }

  ProgramJob job_;
};

TEST_F(BlockedThreads, CheckpointsFromOutside) { checkpoint_often({}); }

TEST_F(BlockedThreads, CheckpointsWithoutASnapshot) { checkpoint_often({{"STILLPOINT_DISABLE", "snapshot"}}); }

TEST_F(BlockedThreads, ChainOfLives) {
  job_.start({built_program("blocked_threads"), report()});
  ASSERT_TRUE(all_go_on());
  for (int life = 1; life <= rounds(25); ++life) {
    ASSERT_THAT(job_.round(), IsEmpty()) << "life " << life;
    ASSERT_TRUE(all_go_on()) << "life " << life;
  }
}

// The program takes its checkpoints itself and is killed at any moment, also while it takes one.
TEST_F(BlockedThreads, CheckpointsItselfAndIsKilled) {
  survives_its_own_checkpoints(job_, "sdk_blocked_threads", rounds(100), rounds(25));
}

}  // namespace
}  // namespace stillpoint::e2e
