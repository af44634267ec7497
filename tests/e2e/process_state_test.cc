// What a process sees of itself (/proc, prctl, limits, masks, fds, children, wait) stays as it is before, while and
// after it is checkpointed and in every new life. The program compares (programs/self_description.cc).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <future>

#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::HasSubstr;
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
  static std::string status_field(pid_t pid, const std::string& name) {
    const std::string status = read_file("/proc/" + std::to_string(pid) + "/status");
    const size_t at = status.find(name + ":\t");
    return at == std::string::npos ? ""
                                   : status.substr(at + name.size() + 2, status.find('\n', at) - at - name.size() - 2);
  }
  static char state_of(pid_t pid) { return (status_field(pid, "State") + " ")[0]; }
  bool is_stopped() const { return state_of(job_.pid()) == 'T'; }
  pid_t tracer() const { return std::atoi(status_field(job_.pid(), "TracerPid").c_str()); }
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
  ASSERT_TRUE(eventually([&] { return is_stopped(); }));
  const Outcome outcome = job_.checkpoint();
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_TRUE(eventually([&] { return is_stopped(); })) << "the checkpoint let it go on";
  ::kill(job_.pid(), SIGCONT);
  EXPECT_TRUE(goes_on_unchanged());
}

// It comes back stopped, without having run a single instruction; `stillpoint restart` goes on and passes SIGCONT on.
TEST_P(ProcessState, StoppedProgramComesBackStopped) {
  start({});
  ASSERT_TRUE(goes_on_unchanged());
  for (int life = 1; life <= 2; ++life) {
    SCOPED_TRACE(life);
    ::kill(job_.pid(), SIGSTOP);
    ASSERT_TRUE(eventually([&] { return is_stopped(); }));
    ASSERT_THAT(job_.round(), IsEmpty());
    EXPECT_THAT(job_.said(), HasSubstr("SIGCONT lets it go on"));
    ASSERT_TRUE(eventually([&] { return is_stopped(); })) << "it runs";
    const size_t before = count_lines(report());
    ::usleep(300'000);
    EXPECT_EQ(count_lines(report()), before) << "it runs";
    EXPECT_TRUE(is_stopped());
    job_.signal(SIGCONT);
    ASSERT_TRUE(goes_on_unchanged());
  }
}

// SIGCONT and SIGSTOP count when they are sent, also while the helper holds the program.
TEST_P(ProcessState, IsContinuedAndStoppedInThePause) {
  start({});
  ASSERT_TRUE(goes_on_unchanged());
  for (const int sent : {SIGSTOP, SIGCONT}) {
    SCOPED_TRACE(sent);
    std::future<Outcome> checkpoint = std::async(std::launch::async, [&] {
      return job_.checkpoint({}, {{"STILLPOINT_STOP_AT", "before-resume"}});
    });
    pid_t helper = 0;
    ASSERT_TRUE(eventually([&] {
      helper = tracer();
      return helper != 0 && state_of(helper) == 'T';
    }));
    ::kill(job_.pid(), sent);
    ::usleep(50'000);
    ::kill(helper, SIGCONT);
    const Outcome outcome = checkpoint.get();
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    if (sent == SIGSTOP) {
      EXPECT_TRUE(eventually([&] { return is_stopped(); })) << "SIGSTOP was lost";
    } else {
      EXPECT_TRUE(goes_on_unchanged()) << "SIGCONT was lost";
    }
  }
}

// A random number generator keeps its state there: two lives must not have the same.
TEST_P(ProcessState, DroppableMemoryComesBackEmpty) {
  start({});
  ASSERT_TRUE(goes_on_unchanged());
  if (file_contains(job_.path("report"), "no droppable memory")) GTEST_SKIP() << "the kernel has no MAP_DROPPABLE";
  ASSERT_THAT(job_.round(), IsEmpty());
  ASSERT_TRUE(goes_on_unchanged());
  EXPECT_TRUE(file_contains(job_.path("report"), "droppable memory is empty"));
  // As well when the pages are written while it stands still.
  write_file(job_.path("report"), "");
  ASSERT_THAT(job_.round({{"STILLPOINT_DISABLE", "snapshot"}}), IsEmpty());
  ASSERT_TRUE(goes_on_unchanged());
  EXPECT_TRUE(file_contains(job_.path("report"), "droppable memory is empty"));
}

TEST_P(ProcessState, ProtectionKeysAreRefused) {
  start({{"PKEY", "1"}});
  ASSERT_TRUE(goes_on_unchanged());
  if (file_contains(job_.path("report"), "no protection keys")) GTEST_SKIP() << "the processor has no protection keys";
  const Outcome outcome = job_.checkpoint();
  EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("SP-PKEY"));
  EXPECT_TRUE(goes_on_unchanged());
}

INSTANTIATE_TEST_SUITE_P(As, ProcessState, ::testing::Values(User::kTester, User::kOrdinary),
                         [](const auto& parameter) {
                           return parameter.param == User::kTester ? "Tester" : "OrdinaryUser";
                         });

}  // namespace
}  // namespace stillpoint::e2e
