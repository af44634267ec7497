#include "tools/child_process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "tests/tools/command_runner.h"

namespace stillpoint::tools {
namespace {

SpawnedProcess spawn_shell(const std::string& script) {
  SpawnOptions options;
  options.path = "bash";
  options.arguments = {"bash", "-c", script};
  options.environment = {{"SPAWN_TEST", "a=b"}, {"HOME", "/nowhere"}};
  const auto spawned = spawn_process(options);
  EXPECT_TRUE(spawned.ok()) << spawned.status();
  return spawned.ok() ? *spawned : SpawnedProcess{};
}

TEST(Spawn, SetsTheEnvironmentAndReplacesInIt) {
  const SpawnedProcess spawned = spawn_shell("[ \"$SPAWN_TEST\" = a=b ] && [ \"$HOME\" = /nowhere ] && exit 9");
  ASSERT_GT(spawned.pid, 0);
  EXPECT_EQ(wait_for(spawned.pid, absl::InfiniteFuture()).value(), W_EXITCODE(9, 0));
}

TEST(Spawn, ReportsWhyExecFailedAndReaps) {
  SpawnOptions options;
  options.path = "/nonexistent/program";
  options.arguments = {"program"};
  const auto spawned = spawn_process(options);
  ASSERT_TRUE(spawned.ok());
  EXPECT_EQ(spawned->exec_error, ENOENT);
  EXPECT_EQ(::waitpid(spawned->pid, nullptr, 0), -1);
  EXPECT_EQ(errno, ECHILD);
  options.path = "/";
  const auto directory = spawn_process(options);
  ASSERT_TRUE(directory.ok());
  EXPECT_EQ(directory->exec_error, EACCES);
}

TEST(Spawn, ClosesFdsOnRequest) {
  const int extra = ::dup(0);
  SpawnOptions options;
  options.path = "bash";
  options.arguments = {"bash", "-c", "[ -e /proc/self/fd/" + std::to_string(extra) + " ] && exit 1; exit 0"};
  options.keep_fds_below = 3;
  const auto spawned = spawn_process(options);
  ASSERT_TRUE(spawned.ok());
  EXPECT_EQ(wait_for(spawned->pid, absl::InfiniteFuture()).value(), 0);
  ::close(extra);
}

TEST(WaitFor, HasADeadline) {
  const SpawnedProcess spawned = spawn_shell("exec sleep 100");
  EXPECT_TRUE(absl::IsDeadlineExceeded(wait_for(spawned.pid, absl::Now() + absl::Milliseconds(20)).status()));
  const std::vector<pid_t> ours = children();
  EXPECT_NE(std::find(ours.begin(), ours.end(), spawned.pid), ours.end());
  ASSERT_EQ(::kill(spawned.pid, SIGTERM), 0);
  EXPECT_EQ(wait_for(spawned.pid, absl::Now() + absl::Seconds(30)).value(), W_EXITCODE(0, SIGTERM));
  EXPECT_FALSE(wait_for(spawned.pid, absl::Now() + absl::Seconds(30)).ok());
}

TEST(DescribeWaitStatus, SaysIt) {
  EXPECT_EQ(describe_wait_status(W_EXITCODE(3, 0)), "exit code 3");
  EXPECT_EQ(describe_wait_status(W_EXITCODE(0, SIGSEGV)), "killed by SIGSEGV");
}

}  // namespace
}  // namespace stillpoint::tools
