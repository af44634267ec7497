// Programs that take their checkpoints themselves.
#ifndef STILLPOINT_TESTS_E2E_SUPPORT_SELF_CHECKPOINTING_H_
#define STILLPOINT_TESTS_E2E_SUPPORT_SELF_CHECKPOINTING_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>

#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {

// `PROGRAM REPORT IMAGES N` takes N checkpoints and ends. It is killed at any moment, also while it takes one, and
// restarted, until it has ended by itself.
inline void survives_its_own_checkpoints(ProgramJob& job, const std::string& program, int checkpoints, int lives) {
  const std::string report = job.path("report");
  const auto finished = [&] { return file_contains(report, "done\n"); };
  job.start({built_program(program), report, job.images(), std::to_string(checkpoints)});
  for (int life = 1; life <= lives && !finished(); ++life) {
    const std::string goal = "checkpoint " + std::to_string(life * checkpoints / (lives + 1) + 1) + " re";
    ASSERT_TRUE(eventually([&] { return file_contains(report, goal) || !job.running(); })) << read_file(report);
    ASSERT_THAT(errors_in(report), testing::IsEmpty()) << "life " << life;
    ASSERT_TRUE(job.running()) << read_file(report);
    ASSERT_EQ(job.kill(), 128 + SIGKILL);
    ASSERT_TRUE(job.restart()) << job.said();
  }
  EXPECT_EQ(job.wait(), 0) << read_file(report) << job.said();
  EXPECT_TRUE(finished());
  EXPECT_THAT(errors_in(report), testing::IsEmpty());
}

}  // namespace stillpoint::e2e

#endif  // STILLPOINT_TESTS_E2E_SUPPORT_SELF_CHECKPOINTING_H_
