// A helper that hangs without dying, while it holds the program: the program is not held for ever.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <string>

#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr const char* kStages[] = {"frozen", "remote-call-entered", "before-snapshot", "snapshot-forked",
                                   "before-resume"};

class HelperHang : public ::testing::TestWithParam<const char*> {
 protected:
  void expect_unharmed(TickerJob& job) {
    ASSERT_TRUE(job.ticks_go_on()) << "the program stands still";
    EXPECT_EQ(job.finish(job.program()), 0);
    EXPECT_TRUE(job.output_is_whole()) << job.output();
    EXPECT_THAT(orphans_.left_over(), IsEmpty());
  }
  OrphanWatch orphans_;
};

TEST_P(HelperHang, ProgramRunsOn) {
  TickerJob job(TickerJob::Kind::kPlain);
  job.start();
  const Outcome outcome =
      job.checkpoint(job.program().pid(), {{"STILLPOINT_STOP_AT", GetParam()}, {"STILLPOINT_PAUSE_LIMIT_MS", "1500"}});
  EXPECT_EQ(outcome.exit_code, 125) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("the helper died"));
  ASSERT_TRUE(job.ticks_go_on()) << "the program stands still";
  const Outcome next = job.checkpoint(job.program().pid());
  EXPECT_EQ(next.exit_code, 0) << next.output;
  expect_unharmed(job);
}

TEST_P(HelperHang, ProgramThatCheckpointsItselfRunsOn) {
  TickerJob job(TickerJob::Kind::kSdk);
  job.start();
  EXPECT_THAT(job.checkpoint_by_itself(std::string("stop ") + GetParam()), StartsWith("error the helper died"));
  ASSERT_TRUE(job.ticks_go_on()) << "the program stands still";
  EXPECT_THAT(job.checkpoint_by_itself(), StartsWith("resumed "));
  expect_unharmed(job);
}

INSTANTIATE_TEST_SUITE_P(Stages, HelperHang, ::testing::ValuesIn(kStages), [](const auto& instance) {
  std::string name = instance.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// Without a snapshot the program is held while its pages are written.
TEST(HelperHangs, WhileItWritesTheFrozenProgram) {
  TickerJob job(TickerJob::Kind::kPlain);
  job.start();
  const Outcome outcome = job.checkpoint(
      job.program().pid(),
      {{"STILLPOINT_DISABLE", "snapshot"}, {"STILLPOINT_STOP_AT", "writing"}, {"STILLPOINT_PAUSE_LIMIT_MS", "1500"}});
  EXPECT_EQ(outcome.exit_code, 125) << outcome.output;
  ASSERT_TRUE(job.ticks_go_on()) << "the program stands still";
  EXPECT_EQ(job.finish(job.program()), 0);
  EXPECT_TRUE(job.output_is_whole()) << job.output();
}

}  // namespace
}  // namespace stillpoint::e2e
