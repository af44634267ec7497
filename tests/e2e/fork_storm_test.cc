// Trees whose processes fork and end as fast as they can: frozen whole, or not at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <string>
#include <thread>

#include "tests/e2e/support/program_job.h"
#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ForkStorm : public ::testing::TestWithParam<const char*> {
 protected:
  void start(int chains, int length) {
    job_.start(
        {built_program("fork_storm"), job_.path("report"), std::to_string(chains), std::to_string(length), GetParam()});
    ASSERT_TRUE(eventually([&] { return file_contains(job_.path("report"), "begin"); }));
  }
  // Whether there is an image now. If not, it was refused for the one reason that there is.
  bool checkpoint(const std::vector<std::string>& options = {}) {
    const Outcome outcome = job_.checkpoint(options);
    if (outcome.exit_code == 0) return true;
    if (eventually([&] { return !job_.running(); }, std::chrono::seconds(2))) return false;
    EXPECT_THAT(outcome.output, HasSubstr("grows faster than it can be stopped"));
    return false;
  }
  void kill_all() {
    job_.kill();
    for (int quiet = 0; quiet < 2;) {
      const std::vector<pid_t> left = processes_naming(job_.path("report"));
      for (const pid_t pid : left) ::kill(pid, SIGKILL);
      quiet = left.empty() ? quiet + 1 : 0;
    }
  }
  void ends_well() {
    EXPECT_EQ(job_.wait(), 0) << job_.said() << errors_in(job_.path("report"));
    EXPECT_THAT(errors_in(job_.path("report")), IsEmpty());
    EXPECT_THAT(read_file(job_.path("report")), HasSubstr("end\n"));
  }

  const OrphanWatch orphans_;
  ProgramJob job_;
};

TEST_P(ForkStorm, GoesOnWhetherOrNotItWasCheckpointed) {
  start(50, rounds(200));
  while (job_.running()) checkpoint({"--keep", "1"});
  ends_well();
}

TEST_P(ForkStorm, ComesBackWhole) {
  start(50, rounds(200));
  for (int life = 1; life <= 3 && job_.running(); ++life) {
    if (!checkpoint({"--keep", "1"})) continue;
    if (!job_.running()) break;
    kill_all();
    ASSERT_TRUE(job_.restart()) << "life " << life << ": " << job_.said();
  }
  ends_well();
}

INSTANTIATE_TEST_SUITE_P(Ends, ForkStorm, ::testing::Values("collected", "kernel"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace stillpoint::e2e
