// What a process sees of itself (/proc, prctl, limits, masks, fds, children, wait) stays as it is before, while and
// after it is checkpointed and in every new life. The program compares (programs/self_description.cc).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::IsEmpty;

enum class User { kTester, kOrdinary };

class ProcessState : public ::testing::TestWithParam<User> {
 protected:
  void SetUp() override {
    if (GetParam() == User::kOrdinary && !is_root()) GTEST_SKIP() << "the tests run as an ordinary user already";
  }
  ProcessState() : job_(GetParam() == User::kOrdinary && is_root() ? kNobody : static_cast<uid_t>(-1)) {}

  std::string report() const { return read_file(job_.path("report")); }
  void start(std::map<std::string, std::string> environment) {
    StartOptions options;
    environment["ODD_NAME"] = "odd value";
    options.environment = std::move(environment);
    job_.start({built_program("self_description"), job_.path("report"), job_.path("")}, options);
  }
  ::testing::AssertionResult goes_on_unchanged() {
    const size_t before = count_lines(report());
    const bool moved = eventually([&] { return count_lines(report()) > before + 2 || !job_.running(); });
    if (report().find("CHANGED") != std::string::npos) return ::testing::AssertionFailure() << report();
    if (!moved || !job_.running()) {
      return ::testing::AssertionFailure() << "it does not go on: " << job_.said();
    }
    return ::testing::AssertionSuccess();
  }
  void stays_as_it_is() {
    ASSERT_TRUE(goes_on_unchanged());
    for (int i = 0; i < rounds(10); ++i) {
      const Outcome outcome = job_.checkpoint({"--keep", "1"});
      ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
      ASSERT_TRUE(goes_on_unchanged()) << "after checkpoint " << i;
    }
    for (int life = 1; life <= 2; ++life) {
      ASSERT_THAT(job_.round(), IsEmpty()) << "life " << life;
      ASSERT_TRUE(goes_on_unchanged()) << "life " << life;
    }
  }
  ProgramJob job_;
};

TEST_P(ProcessState, StaysAsItIs) {
  start({});
  stays_as_it_is();
}

// Trap 4: an orphaned snapshot would become the child of a subreaper.
TEST_P(ProcessState, OfASubreaperStaysAsItIs) {
  start({{"SUBREAPER", "1"}});
  stays_as_it_is();
}

// A program that somebody has stopped is still stopped afterwards, and goes on with SIGCONT.
TEST_P(ProcessState, StoppedProgramStaysStopped) {
  start({});
  ASSERT_TRUE(goes_on_unchanged());
  ::kill(job_.pid(), SIGSTOP);
  const auto stopped = [&] {
    return file_contains("/proc/" + std::to_string(job_.pid()) + "/status", "State:\tT (stopped)");
  };
  ASSERT_TRUE(eventually(stopped));
  const Outcome outcome = job_.checkpoint();
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(eventually(stopped)) << "the checkpoint let it go on";
  ::kill(job_.pid(), SIGCONT);
  EXPECT_TRUE(goes_on_unchanged());
}

INSTANTIATE_TEST_SUITE_P(As, ProcessState, ::testing::Values(User::kTester, User::kOrdinary),
                         [](const auto& parameter) {
                           return parameter.param == User::kTester ? "Tester" : "OrdinaryUser";
                         });

}  // namespace
}  // namespace stillpoint::e2e
