// `run` and what its starter left open.
#include "tools/leaked_fds.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper/base/unique_fd.h"
#include "tests/tools/command_runner.h"

namespace stillpoint::tools {
namespace {

using ::testing::HasSubstr;

class LeakedFds : public ::testing::Test {
 protected:
  // A pipe's write end at `number`, inherited by whatever is executed.
  void leak_pipe(int number) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    fds_.emplace_back(ends[0]);
    fds_.emplace_back(ends[1]);
    ASSERT_EQ(::dup2(ends[1], number), number);
    fds_.emplace_back(number);
  }
  bool withheld(int number) { return (::fcntl(number, F_GETFD) & FD_CLOEXEC) != 0; }
  // Those of the test's own kind: whoever runs the tests may leak some too.
  std::vector<LeakedFd> withhold(const std::vector<std::string>& arguments) {
    const absl::StatusOr<std::vector<LeakedFd>> all = withhold_leaked_fds(arguments);
    EXPECT_TRUE(all.ok()) << all.status();
    std::vector<LeakedFd> ours;
    for (const LeakedFd& fd : *all) {
      if (fd.number >= 200 && fd.number < 250) ours.push_back(fd);
    }
    return ours;
  }
  std::vector<UniqueFd> fds_;
};

TEST_F(LeakedFds, PipesAndSocketsAreWithheld) {
  leak_pipe(201);
  int sockets[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  fds_.emplace_back(sockets[0]);
  fds_.emplace_back(sockets[1]);
  ASSERT_EQ(::dup2(sockets[0], 202), 202);
  fds_.emplace_back(202);
  const std::vector<LeakedFd> leaked = withhold({});
  ASSERT_EQ(leaked.size(), 2u);
  EXPECT_THAT(describe(leaked), HasSubstr("fd 201 (pipe:["));
  EXPECT_THAT(describe(leaked), HasSubstr("and fd 202 (socket:["));
  EXPECT_TRUE(withheld(201));
  EXPECT_TRUE(withheld(202));
  EXPECT_TRUE(withhold({}).empty());
}

TEST_F(LeakedFds, WhatAnArgumentNamesIsPassedOn) {
  for (const int number : {201, 202, 203}) leak_pipe(number);
  EXPECT_EQ(withhold({"/dev/fd/2010", "--input=/dev/fd/202", "/proc/self/fd/203"}).size(), 1u);
  EXPECT_TRUE(withheld(201));
  EXPECT_FALSE(withheld(202));
  EXPECT_FALSE(withheld(203));
}

TEST_F(LeakedFds, WhatACheckpointSavesIsPassedOn) {
  for (const auto& [path, number] : {std::pair{"/dev/null", 201}, {"/dev/zero", 202}, {"/proc/self/exe", 203}}) {
    const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(::dup2(file.get(), number), number);
    fds_.emplace_back(number);
  }
  EXPECT_TRUE(withhold({}).empty());
}

class RunWithLeak : public ::testing::Test {
 protected:
  CommandResult run(const std::vector<std::string>& options, const std::string& script) {
    std::vector<std::string> line = {"/bin/bash",
                                     "-c",
                                     "exec 251> >(cat >/dev/null); exec \"$@\"",
                                     "bash",
                                     STILLPOINT_COMMAND,
                                     "run",
                                     "--dir",
                                     directory_.path() + "/job"};
    line.insert(line.end(), options.begin(), options.end());
    line.insert(line.end(), {"--", "/bin/bash", "-c", script});
    return run_command_line({line, {{"STILLPOINT_HELPER", FAKE_HELPER_PATH}}});
  }
  TemporaryDirectory directory_;
};

TEST_F(RunWithLeak, TheProgramDoesNotGetIt) {
  const CommandResult result = run({}, "[ ! -e /proc/$$/fd/251 ]");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("fd 251 (pipe:["));
  EXPECT_THAT(result.err, HasSubstr("--keep-fds"));
}

TEST_F(RunWithLeak, KeepFdsPassesItOn) {
  const CommandResult result = run({"--keep-fds"}, "[ -p /proc/self/fd/251 ]");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
}

TEST_F(RunWithLeak, ProcessSubstitutionWorks) {
  const CommandResult result =
      run_command_line({{"/bin/bash", "-c", "exec \"$0\" run --dir \"$1\" -- cat <(echo substituted)",
                         STILLPOINT_COMMAND, directory_.path() + "/job"},
                        {{"STILLPOINT_HELPER", FAKE_HELPER_PATH}}});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "substituted\n");
}

}  // namespace
}  // namespace stillpoint::tools
