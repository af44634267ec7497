// Each life writes to what it was started with, whatever the lives before it had: a requeued job's new log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

enum class As { kTester, kOrdinaryUser };

class StartersStreams : public ::testing::TestWithParam<As> {
 protected:
  RunningProgram life(int number, const std::vector<std::string>& program) {
    StartOptions start;
    start.output = output(number);
    if (GetParam() == As::kOrdinaryUser && is_root()) start.uid = kNobody;
    std::vector<std::string> line = {stillpoint_command(), "run", "--stop-on-signal", "TERM", "--dir",
                                     job_.images(),        "--"};
    line.insert(line.end(), program.begin(), program.end());
    return RunningProgram(line, start);
  }
  std::string output(int number) const { return job_.path("output of life " + std::to_string(number)); }
  std::string ticks(int number) const {
    std::string ticks;
    std::istringstream lines(read_file(output(number)));
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind("tick ", 0) == 0 || line.rfind("done ", 0) == 0) ticks += line + "\n";
    }
    return ticks;
  }

  TickerJob job_{TickerJob::Kind::kPlain};
};

TEST_P(StartersStreams, AreThoseOfEachLife) {
  std::string all;
  constexpr int kLives = 4;
  for (int number = 1; number <= kLives; ++number) {
    RunningProgram run = life(number, job_.command_line());
    ASSERT_TRUE(eventually([&] { return ticks(number).size() > 100 || !run.running(); })) << read_file(output(number));
    if (number > 1) ::unlink(output(number - 1).c_str());
    if (number == kLives) {
      EXPECT_EQ(job_.finish(run), 0) << read_file(output(number));
    } else {
      run.signal(SIGTERM);
      ASSERT_EQ(run.wait(), 85) << read_file(output(number));
    }
    EXPECT_THAT(read_file(output(number)), Not(HasSubstr("truncated")));
    all += ticks(number);
  }
  EXPECT_EQ(all, expected_ticker_output(std::atoi(all.c_str() + all.rfind("done ") + 5)));
}

TEST_P(StartersStreams, AnotherLineInTheSameDirectoryIsNoticed) {
  RunningProgram first = life(1, job_.command_line());
  ASSERT_TRUE(eventually([&] { return !ticks(1).empty(); })) << read_file(output(1));
  first.signal(SIGTERM);
  ASSERT_EQ(first.wait(), 85) << read_file(output(1));
  RunningProgram second = life(2, {"/bin/echo", "it's mine"});
  ASSERT_TRUE(eventually([&] { return !ticks(2).empty(); })) << read_file(output(2));
  EXPECT_EQ(job_.finish(second), 0) << read_file(output(2));
  EXPECT_THAT(read_file(output(2)),
              AllOf(HasSubstr("another line"), HasSubstr(job_.command_line().front()), HasSubstr("--fresh")));
}

INSTANTIATE_TEST_SUITE_P(As, StartersStreams, ::testing::Values(As::kTester, As::kOrdinaryUser),
                         [](const auto& parameter) {
                           return parameter.param == As::kTester ? "Tester" : "OrdinaryUser";
                         });

// Two lives at once would write the same files.
class LifeThatRuns : public ::testing::TestWithParam<bool> {
 protected:
  std::vector<std::string> namespace_option() const {
    return GetParam() ? std::vector<std::string>{"--new-namespace"} : std::vector<std::string>{};
  }
  // Every life has the pid of the first one, in its own namespace.
  int lives_with_pid(pid_t pid) const {
    std::istringstream lines(read_file(job_.images() + "/owner"));
    int lives = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line.find("\t" + std::to_string(pid) + "\t") != std::string::npos) ++lives;
    }
    return lives;
  }
  OrphanWatch orphans_;
  TickerJob job_{TickerJob::Kind::kPlain};
};

TEST_P(LifeThatRuns, KeepsItsImageFromBeingRestarted) {
  job_.start();
  const pid_t first = job_.program().pid();
  ASSERT_EQ(job_.checkpoint(first).exit_code, 0);
  const Outcome refused = job_.stillpoint({"restart", job_.images()});
  EXPECT_EQ(refused.exit_code, 125) << refused.output;
  EXPECT_THAT(refused.output,
              AllOf(HasSubstr("still runs here, as pid " + std::to_string(first)), HasSubstr("--beside")));
  EXPECT_TRUE(job_.ticks_go_on());
  job_.program().kill_and_wait();

  // One that outlives its supervisor is found as well, though it has a pid namespace of its own.
  const pid_t second = job_.restart(namespace_option());
  ASSERT_GT(second, 0) << job_.said();
  if (!GetParam()) {
    EXPECT_EQ(job_.finish(job_.restarter()), 0);
    return;
  }
  ASSERT_TRUE(eventually([&] { return lives_with_pid(first) == 2; })) << "the new life is not entered";
  job_.restarter().kill_and_wait();
  ASSERT_EQ(::kill(second, 0), 0);
  const Outcome again = job_.stillpoint({"restart", job_.images()});
  EXPECT_EQ(again.exit_code, 125) << again.output;
  EXPECT_THAT(again.output, HasSubstr("still runs here, as pid " + std::to_string(second)));
  ASSERT_EQ(::kill(second, SIGKILL), 0);
  ASSERT_GT(job_.restart(), 0) << job_.said();
  EXPECT_EQ(job_.finish(job_.restarter()), 0);
}

INSTANTIATE_TEST_SUITE_P(InNamespace, LifeThatRuns, ::testing::Bool());

}  // namespace
}  // namespace stillpoint::e2e
