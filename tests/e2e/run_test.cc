// `stillpoint run`: one line that starts a job and goes on with it, and what its exit codes say; `checkpoint --stop`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Run : public ::testing::TestWithParam<TickerJob::Kind> {
 protected:
  std::unique_ptr<RunningProgram> run_line(const std::vector<std::string>& options) {
    std::vector<std::string> line = {stillpoint_command(), "run"};
    line.insert(line.end(), options.begin(), options.end());
    line.insert(line.end(), {"--dir", job_.images(), "--"});
    const std::vector<std::string> program = job_.command_line();
    line.insert(line.end(), program.begin(), program.end());
    StartOptions start;
    start.output = job_.path("output");
    return std::make_unique<RunningProgram>(line, start);
  }

  // The program; helpers do not name the job.
  pid_t program_pid(const RunningProgram& run) {
    for (const pid_t pid : processes_naming(job_.path("finish"))) {
      if (pid != run.pid() && !file_contains("/proc/" + std::to_string(pid) + "/cmdline", "--dir")) return pid;
    }
    return 0;
  }

  int newest_image() const {
    int newest = 0;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(job_.images(), none)) {
      const std::string name = entry.path().filename().string();
      if (name.rfind("ckpt-", 0) == 0) newest = std::max(newest, std::atoi(name.c_str() + 5));
    }
    return newest;
  }

  // Lives that share an output repeat ticks. Each must have come out right, none be missing, and the last word be
  // "done".
  void expect_consistent_output() {
    std::istringstream lines(job_.output());
    std::set<std::string> printed;
    std::string last;
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind("tick ", 0) != 0 && line.rfind("done ", 0) != 0) continue;
      printed.insert(line);
      last = line;
    }
    ASSERT_EQ(last.rfind("done ", 0), 0u) << job_.output();
    std::istringstream expected_lines(expected_ticker_output(std::atoi(last.c_str() + 5)));
    std::set<std::string> expected;
    for (std::string line; std::getline(expected_lines, line);) expected.insert(line);
    for (const std::string& line : expected) EXPECT_TRUE(printed.contains(line)) << line << " is missing";
    // Ticks after the last image of a life that was killed are beyond `expected` when the next life ended sooner.
    const int ticks = std::atoi(last.c_str() + 5);
    for (const std::string& line : printed) {
      if (std::atoi(line.c_str() + 5) > ticks) continue;
      EXPECT_TRUE(expected.contains(line)) << line << " is wrong";
    }
  }

  OrphanWatch orphans_;
  TickerJob job_{GetParam()};
};

TEST_P(Run, TheSameLineGoesOnAfterAKill) {
  const std::vector<std::string> options = {"--every", "1s", "--keep", "2"};
  auto first = run_line(options);
  ASSERT_TRUE(eventually([&] { return newest_image() >= 3; })) << job_.output();
  const pid_t program = program_pid(*first);
  ASSERT_GT(program, 0);
  ASSERT_EQ(::kill(program, SIGKILL), 0);
  EXPECT_EQ(first->wait(), 128 + SIGKILL) << job_.output();
  EXPECT_FALSE(std::filesystem::exists(job_.image(1))) << "--keep 2 kept a third image";
  EXPECT_TRUE(std::filesystem::exists(job_.image(newest_image() - 1)));

  const int newest = newest_image();
  auto second = run_line(options);
  ASSERT_TRUE(eventually([&] { return file_contains(job_.path("output"), "from " + job_.image(newest)); }))
      << job_.output();
  ASSERT_TRUE(eventually([&] { return newest_image() > newest; })) << "no checkpoint in the second life\n"
                                                                   << job_.output();
  EXPECT_EQ(job_.finish(*second, "7"), 7) << job_.output();
  expect_consistent_output();
  EXPECT_THAT(orphans_.left_over(), IsEmpty());
}

TEST_P(Run, StopOnSignalAsksToBeRequeued) {
  const std::vector<std::string> options = {"--stop-on-signal", "TERM"};
  auto first = run_line(options);
  ASSERT_TRUE(job_.ticks_go_on()) << job_.output();
  first->signal(SIGTERM);
  EXPECT_EQ(first->wait(), 85) << job_.output();
  EXPECT_TRUE(std::filesystem::exists(job_.image(1)));
  EXPECT_THAT(orphans_.left_over(), IsEmpty());

  auto second = run_line(options);
  ASSERT_TRUE(job_.ticks_go_on()) << job_.output();
  // The program does not wait for the line that speaks of it.
  EXPECT_TRUE(eventually([&] { return file_contains(job_.path("output"), "from " + job_.image(1)); })) << job_.output();
  EXPECT_EQ(job_.finish(*second), 0) << job_.output();
  expect_consistent_output();
}

TEST_P(Run, OnSignalTakesACheckpoint) {
  auto run = run_line({"--on-signal", "USR1"});
  ASSERT_TRUE(job_.ticks_go_on()) << job_.output();
  run->signal(SIGUSR1);
  ASSERT_TRUE(eventually([&] { return file_contains(job_.path("output"), "checkpointed pid"); })) << job_.output();
  EXPECT_TRUE(std::filesystem::exists(job_.image(1)));
  EXPECT_EQ(job_.finish(*run, "-6"), 128 + SIGABRT) << job_.output();
  expect_consistent_output();
}

TEST_P(Run, CheckpointWithStopEndsTheProgram) {
  job_.start();
  const pid_t pid = job_.program().pid();
  const Outcome stop = job_.stillpoint({"checkpoint", "--stop", "--pid", std::to_string(pid), job_.images()});
  EXPECT_EQ(stop.exit_code, 0) << stop.output;
  EXPECT_THAT(stop.output, HasSubstr(job_.image(1)));
  EXPECT_EQ(job_.program().wait(), 128 + SIGKILL);
  const std::string output = job_.output();
  EXPECT_GT(job_.restart(), 0) << job_.said();
  EXPECT_EQ(job_.finish(job_.restarter()), 0) << job_.said();
  EXPECT_TRUE(job_.output_is_whole()) << job_.output();
  EXPECT_EQ(job_.output().substr(0, output.size()), output) << "what the stopped program had printed was lost";
  EXPECT_THAT(orphans_.left_over(), IsEmpty());
}

// An editor's terminal leaves a pipe open in everything that is started in it.
TEST_P(Run, APipeThatTheStarterLeftOpen) {
  const auto with_pipe = [&](const std::string& option) {
    std::vector<std::string> line = {"/bin/bash",
                                     "-c",
                                     "exec 251> >(cat >/dev/null); exec \"$@\"",
                                     "bash",
                                     stillpoint_command(),
                                     "run",
                                     "--on-signal",
                                     "USR1",
                                     "--dir",
                                     job_.images()};
    if (!option.empty()) line.push_back(option);
    line.push_back("--");
    const std::vector<std::string> program = job_.command_line();
    line.insert(line.end(), program.begin(), program.end());
    StartOptions start;
    start.output = job_.path("output");
    return std::make_unique<RunningProgram>(line, start);
  };
  auto kept = with_pipe("--keep-fds");
  ASSERT_TRUE(job_.ticks_go_on()) << job_.output();
  kept->signal(SIGUSR1);
  ASSERT_TRUE(eventually([&] { return file_contains(job_.path("output"), "SP-PIPE-EXTERNAL"); })) << job_.output();
  ASSERT_TRUE(eventually([&] { return file_contains(job_.path("output"), "251>&-"); })) << job_.output();
  EXPECT_EQ(newest_image(), 0);
  kept->signal(SIGKILL);
  EXPECT_EQ(kept->wait(), 128 + SIGKILL);
  for (const pid_t pid : processes_naming(job_.path("finish"))) ::kill(pid, SIGKILL);

  auto withheld = with_pipe("");
  ASSERT_TRUE(eventually([&] { return file_contains(job_.path("output"), "the program does not get fd 251"); }))
      << job_.output();
  ASSERT_TRUE(job_.ticks_go_on()) << job_.output();
  withheld->signal(SIGUSR1);
  ASSERT_TRUE(eventually([&] { return newest_image() == 1; })) << job_.output();
  EXPECT_EQ(job_.finish(*withheld, "4"), 4) << job_.output();
  EXPECT_THAT(orphans_.left_over(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Programs, Run, ::testing::Values(TickerJob::Kind::kPlain, TickerJob::Kind::kSdk),
                         [](const auto& instance) {
                           return instance.param == TickerJob::Kind::kSdk ? std::string("Sdk") : std::string("Plain");
                         });

TEST(RunExitCodes, SayWhatHappened) {
  const TemporaryDirectory directory;
  write_file(directory / "no program", "no program");
  const auto code = [&](const std::vector<std::string>& program) {
    std::vector<std::string> line = {stillpoint_command(), "run", "--dir", directory / "ckpt", "--"};
    line.insert(line.end(), program.begin(), program.end());
    return run(line);
  };
  EXPECT_EQ(code({"/bin/sh", "-c", "exit 42"}).exit_code, 42);
  EXPECT_EQ(code({"/bin/sh", "-c", "kill -SEGV $$"}).exit_code, 128 + SIGSEGV);
  const Outcome unusable = code({directory / "no program"});
  EXPECT_EQ(unusable.exit_code, 126) << unusable.output;
  EXPECT_THAT(unusable.output, HasSubstr("no program"));
  const Outcome absent = code({directory / "absent"});
  EXPECT_EQ(absent.exit_code, 127) << absent.output;
  EXPECT_EQ(run({stillpoint_command(), "run", "--", "/bin/true"}).exit_code, 125);       // no --dir
  EXPECT_EQ(run({stillpoint_command(), "restart", directory / "ckpt"}).exit_code, 125);  // no image
}

}  // namespace
}  // namespace stillpoint::e2e
