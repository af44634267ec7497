// `stillpoint restart` as the parent of what it restored: status, signals, interruption.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "tests/tools/command_runner.h"
#include "tools/exit_codes.h"

namespace stillpoint::tools {
namespace {

using ::testing::HasSubstr;

class RestartTest : public ::testing::Test {
 protected:
  void SetUp() override { take(); }

  CommandSpec stillpoint(std::vector<std::string> arguments, const std::string& mode, const std::string& detail) {
    arguments.insert(arguments.begin(), STILLPOINT_COMMAND);
    return {std::move(arguments),
            {{"STILLPOINT_HELPER", FAKE_HELPER_PATH},
             {"FAKE_HELPER", mode},
             {"FAKE_HELPER_DETAIL", detail},
             {"FAKE_HELPER_PID_FILE", directory_ / "pid"}}};
  }
  void take() {
    RunningCommand sleeper({{"/bin/sleep", "1000"}, {}});
    const CommandResult taken =
        run_command_line(stillpoint({"checkpoint", "--pid", std::to_string(sleeper.pid()), job()}, "ok", ""));
    ASSERT_EQ(taken.exit_code, 0) << taken.err;
  }
  void damage(const std::string& image, const std::string& file) {
    std::string bytes = file_contents(job() + "/" + image + "/" + file);
    ASSERT_FALSE(bytes.empty());
    bytes.back() = static_cast<char>(bytes.back() ^ 0x40);
    write_file(job() + "/" + image + "/" + file, bytes);
  }
  std::string job() const { return directory_ / "job"; }
  TemporaryDirectory directory_;
};

TEST_F(RestartTest, PassesTheExitCodeOnAndSaysWhatItRestored) {
  const CommandResult result = run_command_line(stillpoint({"restart", job()}, "ok", "echo hello; exit 7"));
  EXPECT_EQ(result.exit_code, 7) << result.err;
  EXPECT_EQ(result.out, "hello\n");
  EXPECT_THAT(result.err, HasSubstr("restored sleeper (pid "));
  EXPECT_THAT(result.err,
              HasSubstr("1 thread) from " + job() + "/ckpt-00000001, taken 2023-11-14 22:13:20 UTC on here"));
}

TEST_F(RestartTest, DiesByTheProgramsSignal) {
  const CommandResult result = run_command_line(stillpoint({"restart", job()}, "ok", "kill -SEGV $$"));
  ASSERT_TRUE(WIFSIGNALED(result.status)) << result.err;
  EXPECT_EQ(WTERMSIG(result.status), SIGSEGV);
  EXPECT_FALSE(WCOREDUMP(result.status));
}

TEST_F(RestartTest, ForwardsSignals) {
  const std::string script =
      "for s in TERM INT HUP QUIT USR1 USR2 WINCH; do trap \"echo got $s\" $s; done; trap 'echo got RT; exit 3' "
      "RTMIN+2;"
      "echo ready; while :; do sleep 0.01; done";
  RunningCommand command(stillpoint({"restart", job()}, "ok", script));
  ASSERT_TRUE(command.wait_for_out("ready")) << command.err();
  const std::pair<int, const char*> signals[] = {{SIGTERM, "TERM"},  {SIGINT, "INT"},   {SIGHUP, "HUP"},
                                                 {SIGQUIT, "QUIT"},  {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"},
                                                 {SIGWINCH, "WINCH"}};
  for (const auto& [number, name] : signals) {
    command.signal(number);
    EXPECT_TRUE(command.wait_for_out(std::string("got ") + name)) << name;
  }
  command.signal(SIGRTMIN + 2);
  EXPECT_EQ(command.finish(), W_EXITCODE(3, 0));
}

TEST_F(RestartTest, StopsAndContinuesWithTheProgram) {
  RunningCommand command(stillpoint({"restart", job()}, "ok", "echo ready; while :; do sleep 0.01; done"));
  ASSERT_TRUE(command.wait_for_out("ready")) << command.err();
  command.signal(SIGTSTP);
  ASSERT_TRUE(eventually([&] {
    int status = 0;
    return ::waitpid(command.pid(), &status, WUNTRACED | WNOHANG) == command.pid() && WIFSTOPPED(status);
  }));
  command.signal(SIGCONT);
  command.signal(SIGTERM);
  EXPECT_EQ(command.finish(), W_EXITCODE(0, SIGTERM));
}

TEST_F(RestartTest, TakesTheStatusOfAProgramInItsOwnNamespaceFromThePipe) {
  EXPECT_EQ(run_command_line(stillpoint({"restart", job()}, "namespace", std::to_string(W_EXITCODE(42, 0)))).exit_code,
            42);
  const CommandResult killed = run_command_line(stillpoint({"restart", job()}, "namespace", std::to_string(SIGKILL)));
  ASSERT_TRUE(WIFSIGNALED(killed.status));
  EXPECT_EQ(WTERMSIG(killed.status), SIGKILL);
}

TEST_F(RestartTest, AnInterruptionLeavesNothingBehind) {
  for (const int signal_number : {SIGTERM, SIGINT}) {
    std::filesystem::remove(directory_ / "pid");
    RunningCommand command(stillpoint({"restart", job()}, "hang", ""));
    ASSERT_TRUE(eventually([&] { return !file_contents(directory_ / "pid").empty(); })) << command.err();
    const pid_t half_built = std::stoi(file_contents(directory_ / "pid"));
    command.signal(signal_number);
    EXPECT_EQ(command.finish(), W_EXITCODE(0, signal_number));
    EXPECT_THAT(command.err(), HasSubstr("nothing was started"));
    EXPECT_EQ(::kill(half_built, 0), -1) << half_built;
  }
}

TEST_F(RestartTest, AHelperThatDiesLeavesNothingRunning) {
  const CommandResult died = run_command_line(stillpoint({"restart", job()}, "die", ""));
  EXPECT_EQ(died.exit_code, kFailed);
  EXPECT_THAT(died.err, HasSubstr("SIGKILL"));
}

TEST_F(RestartTest, TheHelpersReasonIsPassedOn) {
  const CommandResult failed = run_command_line(stillpoint({"restart", job()}, "fail", "open of /data/x: ENOENT"));
  EXPECT_EQ(failed.exit_code, kFailed);
  EXPECT_THAT(failed.err, HasSubstr("/data/x: ENOENT"));
}

TEST_F(RestartTest, DamageIsSaidAndFallbackTakesAnOlderImage) {
  take();
  damage("ckpt-00000002", "manifest.pb");
  const CommandResult damaged = run_command_line(stillpoint({"restart", job()}, "ok", "exit 0"));
  EXPECT_EQ(damaged.exit_code, kNoUsableImage) << damaged.err;
  EXPECT_THAT(damaged.err, HasSubstr("--fallback"));
  EXPECT_THAT(damaged.err, HasSubstr("manifest.pb"));
  const CommandResult fallen = run_command_line(stillpoint({"restart", "--fallback", job()}, "ok", "exit 5"));
  EXPECT_EQ(fallen.exit_code, 5) << fallen.err;
  EXPECT_THAT(fallen.err, HasSubstr("ckpt-00000002 cannot be used"));
  EXPECT_THAT(fallen.err, HasSubstr("from " + job() + "/ckpt-00000001"));
}

// The pages are damaged, not the manifest: the restore fails first, then the image is found out.
TEST_F(RestartTest, DamageThatTheHelperMeetsCountsToo) {
  damage("ckpt-00000001", "state.pb");
  const CommandResult damaged = run_command_line(stillpoint({"restart", "--fallback", job()}, "fail", "whatever"));
  EXPECT_EQ(damaged.exit_code, kNoUsableImage) << damaged.err;
  EXPECT_THAT(damaged.err, HasSubstr("state.pb"));
}

TEST_F(RestartTest, OneJobIsNotRunTwice) {
  RunningCommand first(stillpoint({"restart", job()}, "ok", "echo ready; exec sleep 1000"));
  ASSERT_TRUE(first.wait_for_out("ready")) << first.err();
  const CommandResult second = run_command_line(stillpoint({"restart", job() + "/ckpt-00000001"}, "ok", "exit 0"));
  EXPECT_EQ(second.exit_code, kFailed);
  EXPECT_THAT(second.err, HasSubstr("pid " + std::to_string(first.pid())));
  first.signal(SIGTERM);
  EXPECT_EQ(first.finish(), W_EXITCODE(0, SIGTERM));
}

TEST_F(RestartTest, DirectoriesWithoutImages) {
  TemporaryDirectory empty;
  EXPECT_EQ(run_command_line(stillpoint({"restart", empty.path()}, "ok", "exit 0")).exit_code, kFailed);
  EXPECT_EQ(run_command_line(stillpoint({"restart", empty / "nothing"}, "ok", "exit 0")).exit_code, kFailed);
  EXPECT_EQ(run_command_line(stillpoint({"restart", empty / "ckpt-00000001"}, "ok", "exit 0")).exit_code, kFailed);
  EXPECT_EQ(run_command_line(stillpoint({"restart", "--map-path", "/a", job()}, "ok", "exit 0")).exit_code, kFailed);
}

}  // namespace
}  // namespace stillpoint::tools
