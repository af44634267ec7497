// Timers run on while a process stands still: each arming of a one-shot timer is followed by exactly one signal, in the
// life that is checkpointed and in every life that comes of the image. The programs keep the books (programs/parts).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/e2e/support/program_job.h"
#include "tests/e2e/support/self_checkpointing.h"

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
  survives_its_own_checkpoints(job_, "sdk_timer_ledger", rounds(80), rounds(20));
}

}  // namespace
}  // namespace stillpoint::e2e
