// 64 threads in every blocking call, with timers, signals and AVX arithmetic, through hundreds of checkpoints and
// dozens of lives: not one wrong value and not one EINTR without a signal. The programs check themselves and report
// (programs/parts).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/e2e/support/program_job.h"

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
  const int checkpoints = rounds(100), lives = rounds(25);
  const auto finished = [&] { return file_contains(report(), "done\n"); };
  job_.start({built_program("sdk_blocked_threads"), report(), job_.images(), std::to_string(checkpoints)});
  for (int life = 1; life <= lives && !finished(); ++life) {
    const std::string goal = "checkpoint " + std::to_string(life * checkpoints / (lives + 1) + 1) + " re";
    ASSERT_TRUE(eventually([&] { return file_contains(report(), goal) || !job_.running(); })) << read_file(report());
    ASSERT_THAT(errors_in(report()), IsEmpty()) << "life " << life;
    ASSERT_TRUE(job_.running()) << read_file(report());
    ASSERT_EQ(job_.kill(), 128 + SIGKILL);
    ASSERT_TRUE(job_.restart()) << job_.said();
  }
  EXPECT_EQ(job_.wait(), 0) << read_file(report()) << job_.said();
  EXPECT_TRUE(finished());
  EXPECT_THAT(errors_in(report()), IsEmpty());
}

}  // namespace
}  // namespace stillpoint::e2e
