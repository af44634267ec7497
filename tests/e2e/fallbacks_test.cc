// Every kernel feature has its fallback: with each switched off in turn, a program that holds a bit of everything is
// checkpointed, killed and restored twice, and ends with what an uninterrupted run writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::IsEmpty;

std::vector<std::string> rich(const std::string& report, const std::string& directory, size_t rounds_at_most,
                              int delay_ms) {
  return {built_program("rich"), report, directory, std::to_string(rounds_at_most), std::to_string(delay_ms)};
}

std::string uninterrupted(size_t rounds_made) {
  const TemporaryDirectory directory;
  const Outcome outcome = run(rich(directory / "report", directory.path(), rounds_made, 0));
  return outcome.exit_code == 0 ? read_file(directory / "report") : outcome.output;
}

class Fallback : public ::testing::TestWithParam<const char*> {
 protected:
  static std::map<std::string, std::string> environment() { return {{"STILLPOINT_DISABLE", GetParam()}}; }

  // Two rounds beyond where the program is.
  static ::testing::AssertionResult goes_on(ProgramJob& job) {
    const size_t before = count_lines(read_file(job.path("report")));
    if (eventually([&] { return count_lines(read_file(job.path("report"))) >= before + 2 || !job.running(); }) &&
        job.running()) {
      return ::testing::AssertionSuccess();
    }
    return ::testing::AssertionFailure() << "it " << (job.running() ? "stands still" : "ended") << "; " << job.said();
  }

  // The content of a memfd can be read through a copy of its fd only: without, it is refused (see
  // MemfdNeedsCopiesOfFds).
  static StartOptions options() {
    StartOptions start;
    if (std::string(GetParam()).find("pidfd_getfd") != std::string::npos) start.environment = {{"NO_MEMFD", "1"}};
    return start;
  }

  static void survive(ProgramJob& job) {
    job.start(rich(job.path("report"), job.path(""), 1000000, 20), options());
    ASSERT_TRUE(goes_on(job));
    for (int life = 1; life <= 2; ++life) {
      ASSERT_THAT(job.round(environment()), IsEmpty()) << "life " << life;
      ASSERT_TRUE(goes_on(job)) << "life " << life;
    }
    write_file(job.path("stop"), "");
    ASSERT_EQ(job.wait(), 0) << job.said();
    const std::string report = read_file(job.path("report"));
    EXPECT_EQ(report, uninterrupted(count_lines(report)));
  }
};

TEST_P(Fallback, SurvivesTwoRounds) {
  ProgramJob job;
  survive(job);
}

TEST_P(Fallback, SurvivesTwoRoundsAsAnOrdinaryUser) {
  if (!is_root()) GTEST_SKIP() << "the tests run as an ordinary user already";
  ProgramJob job(kNobody);
  survive(job);
}

TEST(FallbackRefusal, MemfdNeedsCopiesOfFds) {
  ProgramJob job;
  job.start(rich(job.path("report"), job.path(""), 1000000, 20));
  ASSERT_TRUE(eventually([&] { return count_lines(read_file(job.path("report"))) > 2; }));
  const Outcome outcome = job.checkpoint({}, {{"STILLPOINT_DISABLE", "pidfd_getfd"}});
  EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
  EXPECT_THAT(outcome.output, ::testing::HasSubstr("SP-MEMFD-OPAQUE"));
  write_file(job.path("stop"), "");
  ASSERT_EQ(job.wait(), 0);
  const std::string report = read_file(job.path("report"));
  EXPECT_EQ(report, uninterrupted(count_lines(report)));
}

INSTANTIATE_TEST_SUITE_P(Feature, Fallback,
                         ::testing::Values("none", "pagemap_scan", "pidfd_getfd", "kcmp", "snapshot", "pause_copies",
                                           "worker", "direct_io", "openat2", "renameat2", "copy_file_range,reflink",
                                           "o_tmpfile", "clone3_set_tid", "time_ns", "vdso_mremap", "timer_restore_ids",
                                           "timerfd_ticks", "inotify_setnextwd,open_by_handle",
                                           "clone3_set_tid,time_ns",
                                           "pagemap_scan,snapshot,pidfd_getfd,kcmp,vdso_mremap"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) {
                             if (c == ',') c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace stillpoint::e2e
