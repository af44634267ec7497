// `stillpoint run`: starting, restarting, checkpoints in time and on signals.
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
using ::testing::Not;

constexpr char kLoop[] = "echo ready; while :; do sleep 0.01; done";

class RunTest : public ::testing::Test {
 protected:
  CommandSpec run(std::vector<std::string> options, std::vector<std::string> program, const std::string& mode = "ok",
                  const std::string& detail = "") {
    std::vector<std::string> arguments = {STILLPOINT_COMMAND, "run", "--dir", job()};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.push_back("--");
    arguments.insert(arguments.end(), program.begin(), program.end());
    return {std::move(arguments),
            {{"STILLPOINT_HELPER", FAKE_HELPER_PATH}, {"FAKE_HELPER", mode}, {"FAKE_HELPER_DETAIL", detail}}};
  }
  CommandSpec run_script(std::vector<std::string> options, const std::string& script, const std::string& mode = "ok") {
    return run(std::move(options), {"bash", "-c", script}, mode);
  }
  bool has_image(int sequence) const {
    return std::filesystem::exists(job() + "/ckpt-0000000" + std::to_string(sequence) + "/manifest.pb");
  }
  // Leaves one image in the job directory.
  void take() {
    RunningCommand command(run_script({"--on-signal", "USR1"}, kLoop));
    ASSERT_TRUE(command.wait_for_out("ready"));
    command.signal(SIGUSR1);
    ASSERT_TRUE(command.wait_for_err("checkpointed")) << command.err();
    command.signal(SIGTERM);
    EXPECT_EQ(command.finish(), W_EXITCODE(0, SIGTERM));
    ASSERT_TRUE(has_image(1));
  }
  std::string job() const { return directory_ / "job"; }
  TemporaryDirectory directory_;
};

TEST_F(RunTest, StartsTheProgramAndPassesItsStatusOn) {
  const CommandResult result =
      run_command_line(run_script({"--keep", "5"}, "echo \"$STILLPOINT_DIR $STILLPOINT_KEEP\"; exit 9"));
  EXPECT_EQ(result.exit_code, 9) << result.err;
  EXPECT_EQ(result.out, std::filesystem::canonical(job()).string() + " 5\n");
  const CommandResult killed = run_command_line(run_script({}, "kill -KILL $$"));
  ASSERT_TRUE(WIFSIGNALED(killed.status));
  EXPECT_EQ(WTERMSIG(killed.status), SIGKILL);
}

TEST_F(RunTest, ProgramsThatCannotBeExecuted) {
  EXPECT_EQ(run_command_line(run({}, {"/nonexistent/app"})).exit_code, kNotFound);
  CommandSpec in_path = run({}, {"no-such-program-in-path"});
  in_path.environment.emplace_back("PATH", "/usr/bin:/bin");  // readable for whoever runs the tests
  EXPECT_EQ(run_command_line(in_path).exit_code, kNotFound);
  EXPECT_EQ(run_command_line(run({}, {directory_.path()})).exit_code, kCannotExecute);
}

TEST_F(RunTest, ADirectoryThatCannotBeWrittenIsNoStart) {
  ASSERT_TRUE(std::filesystem::create_directory(job()));
  std::filesystem::permissions(job(), std::filesystem::perms(0555));
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
  CommandSpec spec = run({}, {"/bin/sh", "-c", "echo started"});
  if (::geteuid() == 0) {  // whom no permission keeps from writing
    const std::vector<std::string> user = {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
    spec.arguments.insert(spec.arguments.begin(), user.begin(), user.end());
  }
  const CommandResult result = run_command_line(spec);
  EXPECT_EQ(result.exit_code, kFailed) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("no image could be written in " + job()));
}

TEST_F(RunTest, TheProgramSeesTheSignalsItsStarterLeft) {
  // Nothing blocked, nothing ignored but what was before: SigBlk and SigIgn as a plain child has them.
  const std::string script = "grep -E 'SigBlk|SigIgn' /proc/self/status";
  const CommandResult plain = run_command_line({{"/bin/bash", "-c", script}, {}});
  const CommandResult under_run = run_command_line(run_script({}, script));
  EXPECT_EQ(under_run.out, plain.out);
}

TEST_F(RunTest, CheckpointsInTimeAndKeepsSome) {
  RunningCommand command(run_script({"--every", "50ms", "--keep", "2"}, kLoop));
  ASSERT_TRUE(eventually([&] { return has_image(4); })) << command.err();
  ASSERT_TRUE(eventually([&] { return !has_image(1) && !has_image(2); })) << command.err();
  command.signal(SIGTERM);
  EXPECT_EQ(command.finish(), W_EXITCODE(0, SIGTERM));
}

TEST_F(RunTest, ARefusedCheckpointIsOneLineAndTheProgramRunsOn) {
  RunningCommand command(run_script({"--on-signal", "USR1"}, kLoop, "refuse"));
  ASSERT_TRUE(command.wait_for_out("ready"));
  command.signal(SIGUSR1);
  ASSERT_TRUE(command.wait_for_err("SP-TWO")) << command.err();
  EXPECT_THAT(command.err(), HasSubstr("the program runs on: 2 findings; SP-ONE fd 7"));
  command.signal(SIGTERM);
  EXPECT_EQ(command.finish(), W_EXITCODE(0, SIGTERM));
}

TEST_F(RunTest, StopOnSignalCheckpointsEndsAndAsksForARequeue) {
  RunningCommand command(run_script({"--stop-on-signal", "TERM"}, kLoop));
  ASSERT_TRUE(command.wait_for_out("ready"));
  command.signal(SIGTERM);
  EXPECT_EQ(command.finish(), W_EXITCODE(kRequeue, 0)) << command.err();
  EXPECT_TRUE(has_image(1));
}

TEST_F(RunTest, AStopThatFailsLeavesTheProgramRunning) {
  RunningCommand command(run_script({"--stop-on-signal", "USR2"}, kLoop, "refuse"));
  ASSERT_TRUE(command.wait_for_out("ready"));
  command.signal(SIGUSR2);
  ASSERT_TRUE(command.wait_for_err("the program runs on")) << command.err();
  command.signal(SIGTERM);
  EXPECT_EQ(command.finish(), W_EXITCODE(0, SIGTERM));
}

TEST_F(RunTest, ASilentHelperDoesNotHoldUpSignals) {
  RunningCommand command(
      run_script({"--on-signal", "USR1"}, "trap 'echo term; exit 4' TERM; " + std::string(kLoop), "silent"));
  ASSERT_TRUE(command.wait_for_out("ready"));
  command.signal(SIGUSR1);
  ASSERT_TRUE(command.wait_for_err("begins"));
  command.signal(SIGTERM);
  EXPECT_TRUE(command.wait_for_out("term"));
  // The program has ended; the checkpoint is waited for until somebody insists. A signal that comes before `run` knows
  // of the end is still the program's.
  EXPECT_TRUE(eventually([&] {
    command.signal(SIGTERM);
    return command.ended();
  }));
  EXPECT_EQ(command.finish(), W_EXITCODE(4, 0));
}

TEST_F(RunTest, RestartsTheNewestImage) {
  take();
  const CommandResult again = run_command_line(run({}, {"/bin/false"}, "ok", "echo restored; exit 6"));
  EXPECT_EQ(again.exit_code, 6) << again.err;
  EXPECT_EQ(again.out, "restored\n");
  EXPECT_THAT(again.err, HasSubstr("ckpt-00000001"));
  EXPECT_EQ(run_command_line(run({"--fresh"}, {"bash", "-c", "exit 8"})).exit_code, 8);
  EXPECT_TRUE(has_image(1));
}

TEST_F(RunTest, NoUsableImageStartsNothingAndDeletesNothing) {
  take();
  const std::string manifest = job() + "/ckpt-00000001/manifest.pb";
  write_file(manifest, "nonsense");
  const CommandResult result = run_command_line(run_script({}, "echo started"));
  EXPECT_EQ(result.exit_code, kNoUsableImage) << result.err;
  EXPECT_THAT(result.out, Not(HasSubstr("started")));
  EXPECT_THAT(result.err, HasSubstr("--fresh"));
  EXPECT_EQ(file_contents(manifest), "nonsense");
}

// The image is whole; a file that the program needs is not there. Starting afresh would throw work away.
TEST_F(RunTest, ARestartThatFailsForAnotherReasonDoesNotBlameTheImages) {
  take();
  const CommandResult result =
      run_command_line(run({}, {"bash", "-c", "echo started"}, "fail", "fd 3 /data/x: the file has vanished"));
  EXPECT_EQ(result.exit_code, kFailed) << result.err;
  EXPECT_THAT(result.out, Not(HasSubstr("started")));
  EXPECT_THAT(result.err, HasSubstr("/data/x: the file has vanished"));
  EXPECT_THAT(result.err, HasSubstr("start the same line again"));
  EXPECT_THAT(result.err, Not(HasSubstr("--fresh does")));
}

TEST_F(RunTest, AnIdleSdkProgramIsReportedAndNotWaitedForForever) {
  RunningCommand command(run({"--every", "100ms"}, {ANCHORED_PROGRAM, "idle"}));
  ASSERT_TRUE(command.wait_for_err("reached no checkpoint() or poll() within 100ms")) << command.err();
  command.signal(SIGTERM);
  EXPECT_EQ(command.finish(), W_EXITCODE(0, SIGTERM));
}

TEST_F(RunTest, BadSignalsAndDurationsAreRefused) {
  for (const std::vector<std::string>& options : std::vector<std::vector<std::string>>{
           {"--on-signal", "KILL"}, {"--on-signal", "CHLD"}, {"--every", "often"}, {"--keep", "0"}}) {
    EXPECT_EQ(run_command_line(run_script(options, "exit 0")).exit_code, kFailed) << options[1];
  }
}

}  // namespace
}  // namespace stillpoint::tools
