// The promise of the whole project on its smallest example: killed at any moment, the result is the same in every bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "tests/tools/command_runner.h"

namespace stillpoint::tools {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kProblem = {"--size",    "200", "--steps",        "6000",
                                           "--threads", "3",   "--report-every", "300"};

CommandSpec heat(std::vector<std::string> options) {
  std::vector<std::string> arguments = {HEAT_PROGRAM};
  arguments.insert(arguments.end(), kProblem.begin(), kProblem.end());
  arguments.insert(arguments.end(), options.begin(), options.end());
  return {std::move(arguments), {{"STILLPOINT_HELPER", STILLPOINT_HELPER_PROGRAM}}};
}

CommandSpec restart(const std::string& directory) {
  return {{STILLPOINT_COMMAND, "restart", directory}, {{"STILLPOINT_HELPER", STILLPOINT_HELPER_PROGRAM}}};
}

std::string checksum_line(const std::string& output) {
  const size_t start = output.rfind("checksum ");
  return start == std::string::npos ? "" : output.substr(start, output.find('\n', start) - start);
}

TEST(Heat, EndsWithTheSameBitsHoweverOftenItIsKilled) {
  const CommandResult undisturbed = run_command_line(heat({}));
  ASSERT_EQ(undisturbed.exit_code, 0) << undisturbed.err;
  const std::string expected = checksum_line(undisturbed.out);
  ASSERT_FALSE(expected.empty());

  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 3; ++round) {
    TemporaryDirectory directory;
    const std::string picture = directory / "heat.png";
    RunningCommand first(heat({"--checkpoint-every", "300", "--dir", directory / "ckpt", "--picture", picture}));
    ASSERT_TRUE(eventually([&] { return std::filesystem::exists(directory / "ckpt/latest"); })) << first.err();
    ::usleep(static_cast<useconds_t>(random() % 200000));
    first.signal(SIGKILL);
    const int status = first.finish();
    // On a fast machine it may have ended already: then there is an image to go back to all the same.
    ASSERT_TRUE(status == W_EXITCODE(0, SIGKILL) || status == 0) << status;
    const CommandResult second = run_command_line(restart(directory / "ckpt"));
    EXPECT_EQ(second.exit_code, 0) << second.err;
    EXPECT_THAT(second.err, HasSubstr("restored heat"));
    // A restarted program goes on writing where it wrote: to its own file, unless restart gave it another.
    EXPECT_EQ(checksum_line(first.out() + second.out), expected) << second.err;
    EXPECT_TRUE(std::filesystem::exists(picture));
  }
}

TEST(Heat, MistakesAreExplained) {
  EXPECT_EQ(run_command_line({{HEAT_PROGRAM, "--size", "2"}, {}}).exit_code, 2);
  EXPECT_EQ(run_command_line({{HEAT_PROGRAM, "extra"}, {}}).exit_code, 2);
  EXPECT_EQ(run_command_line({{HEAT_PROGRAM, "--help"}, {}}).exit_code, 0);
}

}  // namespace
}  // namespace stillpoint::tools
