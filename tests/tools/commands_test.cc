// The command as a user runs it, with a helper that only speaks the protocol.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>

#include "tests/tools/command_runner.h"
#include "tools/exit_codes.h"

namespace stillpoint::tools {
namespace {

using ::testing::HasSubstr;

CommandSpec stillpoint(std::vector<std::string> arguments, const std::string& mode, const std::string& detail = "") {
  arguments.insert(arguments.begin(), STILLPOINT_COMMAND);
  return {std::move(arguments),
          {{"STILLPOINT_HELPER", FAKE_HELPER_PATH}, {"FAKE_HELPER", mode}, {"FAKE_HELPER_DETAIL", detail}}};
}

class CommandsTest : public ::testing::Test {
 protected:
  CommandsTest() : sleeper_({{"/bin/sleep", "1000"}, {}}) {}
  std::string pid() const { return std::to_string(sleeper_.pid()); }
  RunningCommand sleeper_;
  TemporaryDirectory directory_;
};

TEST_F(CommandsTest, HelpIsThereForAllAndUsageErrorsAre125) {
  for (const char* command : {"run", "checkpoint", "restart", "list", "inspect", "verify", "audit", "check"}) {
    const CommandResult help = run_command_line(stillpoint({command, "--help"}, ""));
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_THAT(help.out, HasSubstr(std::string("Usage: stillpoint ") + command));
    const CommandResult wrong = run_command_line(stillpoint({command, "--wrong"}, ""));
    EXPECT_EQ(wrong.exit_code, kFailed) << command;
    EXPECT_THAT(wrong.err, HasSubstr("--wrong"));
  }
  EXPECT_EQ(run_command_line(stillpoint({"nonsense"}, "")).exit_code, kFailed);
  EXPECT_EQ(run_command_line(stillpoint({}, "")).exit_code, kFailed);
}

TEST_F(CommandsTest, CheckpointInspectVerifyListAgree) {
  const std::string job = directory_ / "job";
  const CommandResult taken = run_command_line(stillpoint({"checkpoint", "--pid", pid(), job}, "ok"));
  ASSERT_EQ(taken.exit_code, 0) << taken.err;
  EXPECT_EQ(taken.out, job + "/ckpt-00000001\n");
  EXPECT_THAT(taken.err, HasSubstr("a note"));

  const CommandResult table = run_command_line(stillpoint({"inspect", job}, ""));
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr(pid()));
  const CommandResult json = run_command_line(stillpoint({"inspect", "--json", job + "/ckpt-00000001"}, ""));
  EXPECT_THAT(json.out, HasSubstr("\"pid\":" + pid()));
  const CommandResult verified = run_command_line(stillpoint({"verify", job}, ""));
  EXPECT_EQ(verified.exit_code, 0) << verified.out << verified.err;
  const CommandResult list = run_command_line(stillpoint({"list", job}, ""));
  EXPECT_THAT(list.out, HasSubstr("sleeper --long"));
  EXPECT_THAT(list.out, HasSubstr("1 thread "));
  EXPECT_THAT(list.out, HasSubstr("(latest)"));
  EXPECT_EQ(list.err, "");
  std::filesystem::remove(job + "/latest");
  const CommandResult unmarked = run_command_line(stillpoint({"list", job + "/"}, ""));
  EXPECT_EQ(unmarked.exit_code, 0);
  EXPECT_THAT(unmarked.err, HasSubstr(job + "/latest is missing, so no image is marked"));
}

TEST_F(CommandsTest, ListOfNothing) {
  const CommandResult none = run_command_line(stillpoint({"list", directory_.path()}, ""));
  EXPECT_EQ(none.exit_code, kNegative);
  EXPECT_THAT(none.err, HasSubstr("there is no image in " + directory_.path()));
  EXPECT_EQ(run_command_line(stillpoint({"list", directory_ / "nothing"}, "")).exit_code, kFailed);
}

TEST_F(CommandsTest, AForgottenOptionIsGuessed) {
  const CommandResult checkpoint = run_command_line(stillpoint({"checkpoint", "4242", directory_ / "job"}, "ok"));
  EXPECT_EQ(checkpoint.exit_code, kFailed);
  EXPECT_THAT(checkpoint.err, HasSubstr("checkpoint: --pid is missing: did you mean --pid 4242?"));
  EXPECT_THAT(run_command_line(stillpoint({"audit", "5"}, "ok")).err, HasSubstr("did you mean --pid 5?"));
  EXPECT_THAT(run_command_line(stillpoint({"run", "true"}, "ok")).err, HasSubstr("run: --dir is missing\n"));
}

TEST_F(CommandsTest, ADirectoryThatCannotBeMade) {
  const CommandResult nested = run_command_line(stillpoint({"checkpoint", "--pid", pid(), directory_ / "a/b/"}, "ok"));
  EXPECT_EQ(nested.exit_code, kFailed);
  EXPECT_THAT(nested.err, HasSubstr("cannot create checkpoint directory " + directory_.path() +
                                    "/a/b: " + directory_.path() + "/a does not exist; create it first (mkdir -p "));
}

TEST_F(CommandsTest, VerifyAndInspectNameTheDamage) {
  const std::string job = directory_ / "job";
  ASSERT_EQ(run_command_line(stillpoint({"checkpoint", "--pid", pid(), job}, "ok")).exit_code, 0);
  std::string state = file_contents(job + "/ckpt-00000001/state.pb");
  state[state.size() / 2] = static_cast<char>(state[state.size() / 2] ^ 1);
  write_file(job + "/ckpt-00000001/state.pb", state);
  const CommandResult verified = run_command_line(stillpoint({"verify", job}, ""));
  EXPECT_EQ(verified.exit_code, kDamaged);
  EXPECT_THAT(verified.out, HasSubstr("state.pb"));
  EXPECT_EQ(run_command_line(stillpoint({"inspect", job}, "")).exit_code, kDamaged);
  EXPECT_EQ(run_command_line(stillpoint({"verify", directory_ / "nothing"}, "")).exit_code, kFailed);
}

TEST_F(CommandsTest, RefusalsListEveryFinding) {
  const CommandResult refused =
      run_command_line(stillpoint({"checkpoint", "--pid", pid(), directory_ / "job"}, "refuse"));
  EXPECT_EQ(refused.exit_code, kNegative);
  for (const char* text : {"SP-ONE", "SP-TWO", "because", "do otherwise"}) EXPECT_THAT(refused.err, HasSubstr(text));
  const CommandResult audited = run_command_line(stillpoint({"audit", "--pid", pid()}, "refuse"));
  EXPECT_EQ(audited.exit_code, kNegative);
  EXPECT_THAT(audited.out, HasSubstr("SP-TWO"));
  const CommandResult json = run_command_line(stillpoint({"audit", "--pid", pid(), "--json"}, "refuse"));
  EXPECT_THAT(json.out, HasSubstr(R"("object":"fd 7 /data/\"run\".lock")"));
  EXPECT_EQ(run_command_line(stillpoint({"audit", "--pid", pid()}, "ok")).exit_code, kSuccess);
}

TEST_F(CommandsTest, AHelperThatDiesIsAnErrorAndNothingIsLeft) {
  const CommandResult died = run_command_line(stillpoint({"checkpoint", "--pid", pid(), directory_ / "job"}, "die"));
  EXPECT_EQ(died.exit_code, kFailed);
  EXPECT_THAT(died.err, HasSubstr("SIGKILL"));
  EXPECT_EQ(::kill(sleeper_.pid(), 0), 0);
}

TEST_F(CommandsTest, AProgramThatIsNoHelperIsDoubted) {
  CommandSpec spec = stillpoint({"check"}, "");
  spec.environment[0].second = "/bin/true";
  const CommandResult result = run_command_line(spec);
  EXPECT_EQ(result.exit_code, kFailed);
  EXPECT_THAT(result.err, HasSubstr("(exit code 0); /bin/true may not be stillpoint-helper"));
}

TEST_F(CommandsTest, AMissingHelperSaysWhereItWasLookedFor) {
  CommandSpec spec = stillpoint({"check"}, "");
  spec.environment[0].second = "/nonexistent/helper";
  const CommandResult result = run_command_line(spec);
  EXPECT_EQ(result.exit_code, kFailed);
  EXPECT_THAT(result.err, HasSubstr("/nonexistent/helper"));
}

TEST_F(CommandsTest, ProcessesThatAreNone) {
  const CommandResult none =
      run_command_line(stillpoint({"checkpoint", "--pid", "2147483646", directory_ / "job"}, "ok"));
  EXPECT_EQ(none.exit_code, kFailed);
  EXPECT_THAT(none.err, HasSubstr("2147483646"));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "job"));
  EXPECT_EQ(run_command_line(stillpoint({"checkpoint", directory_ / "job"}, "ok")).exit_code, kFailed);
}

TEST_F(CommandsTest, CheckSaysWhetherARestartIsPossible) {
  EXPECT_EQ(run_command_line(stillpoint({"check"}, "ok")).exit_code, kSuccess);
  EXPECT_EQ(run_command_line(stillpoint({"check"}, "hopeless")).exit_code, kNegative);
  EXPECT_EQ(run_command_line(stillpoint({"check", "--json"}, "ok")).out, "{\"kernel\": \"6.1\"}\n");
}

TEST_F(CommandsTest, ProgramsThatLinkTheSdkAreAsked) {
  RunningCommand program({{ANCHORED_PROGRAM, "answer"}, {}});
  ASSERT_TRUE(program.wait_for_out("ready"));
  const std::string job = directory_ / "job";
  const std::string program_pid = std::to_string(program.pid());
  const CommandResult asked = run_command_line(stillpoint({"checkpoint", "--pid", program_pid, job}, "die"));
  EXPECT_EQ(asked.exit_code, 0) << asked.err;
  EXPECT_THAT(asked.out, HasSubstr("/job/ckpt-00000009"));
  const CommandResult bypassed =
      run_command_line(stillpoint({"checkpoint", "--no-hooks", "--pid", program_pid, job}, "ok"));
  EXPECT_THAT(bypassed.out, HasSubstr("ckpt-00000001"));

  RunningCommand idle({{ANCHORED_PROGRAM, "idle"}, {}});
  ASSERT_TRUE(idle.wait_for_out("ready"));
  const CommandResult waited =
      run_command_line(stillpoint({"checkpoint", "--wait", "100ms", "--pid", std::to_string(idle.pid()), job}, "ok"));
  EXPECT_EQ(waited.exit_code, kTimedOut);
  EXPECT_THAT(waited.err, HasSubstr("--no-hooks"));
}

}  // namespace
}  // namespace stillpoint::tools
