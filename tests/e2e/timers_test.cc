// Timers run on while a process stands still: each arming of a one-shot timer is followed by exactly one signal, in the
// life that is checkpointed and in every life that comes of the image. The programs keep the books (programs/parts).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::IsEmpty;

class Timers : public ::testing::Test {
 protected:
  std::string report() const { return job_.path("report"); }

  ::testing::AssertionResult books_are_right() {
    const size_t before = count_lines(read_file(report()));
    const bool moved = eventually([&] { return count_lines(read_file(report())) >= before + 4 || !job_.running(); });
    const std::string errors = errors_in(report());
    if (!errors.empty()) return ::testing::AssertionFailure() << errors;
    if (!moved || !job_.running()) return ::testing::AssertionFailure() << "no heartbeat: " << job_.said();
    return ::testing::AssertionSuccess();
  }

  ProgramJob job_;
};

TEST_F(Timers, EachExpiresOnceInEveryLife) {
  job_.start({built_program("timer_ledger"), report()});
  ASSERT_TRUE(books_are_right());
  for (int i = 0; i < rounds(20); ++i) {
    const Outcome outcome = job_.checkpoint({"--keep", "1"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  }
  ASSERT_TRUE(books_are_right());
  for (int life = 1; life <= rounds(20); ++life) {
    ASSERT_THAT(job_.round(), IsEmpty()) << "life " << life;
    ASSERT_TRUE(books_are_right()) << "life " << life;
  }
}

TEST_F(Timers, EachExpiresOnceWhenTheProgramCheckpointsItself) {
  const int checkpoints = rounds(80), lives = rounds(20);
  const auto finished = [&] { return file_contains(report(), "done\n"); };
  job_.start({built_program("sdk_timer_ledger"), report(), job_.images(), std::to_string(checkpoints)});
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
