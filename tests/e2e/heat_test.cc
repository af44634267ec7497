// The promise on the sample: killed at any moment and restarted, heat ends with the same bits as if nothing had
// happened.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <random>
#include <sstream>
#include <thread>

#include "tests/e2e/support/running_program.h"
#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// 20 kill moments in all.
constexpr int kRounds = 5;
constexpr int kKillMomentsPerRound = 4;
constexpr int kSteps = 4000;
constexpr int kCheckpointEvery = 500;

std::vector<std::string> heat(const std::vector<std::string>& options) {
  std::vector<std::string> arguments = {
      built_program("heat"), "--size", "96", "--steps", std::to_string(kSteps), "--threads", "3",
      "--report-every",      "100"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  return arguments;
}

// What heat computed: every residual and the checksum, without what it says about checkpoints.
std::string results(const std::string& output) {
  std::istringstream lines(output);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("step ", 0) == 0 || line.rfind("checksum ", 0) == 0) kept += line + "\n";
  }
  return kept;
}

// Kills a run after `delay` past its first image and restarts it; true when it was killed in the middle.
bool kill_and_restart(std::chrono::microseconds delay, const std::string& expected) {
  const TemporaryDirectory directory;
  StartOptions options;
  options.output = directory / "output";
  RunningProgram first(heat({"--checkpoint-every", std::to_string(kCheckpointEvery), "--dir", directory / "ckpt"}),
                       options);
  EXPECT_TRUE(eventually([&] { return std::filesystem::exists(directory / "ckpt/latest") || !first.running(); }));
  std::this_thread::sleep_for(delay);
  const bool in_the_middle = first.running();
  first.kill_and_wait();

  const Outcome second = run({stillpoint_command(), "restart", directory / "ckpt"});
  EXPECT_EQ(second.exit_code, 0) << second.output;
  EXPECT_THAT(second.output, HasSubstr("restored heat"));
  const std::string output = read_file(directory / "output");
  EXPECT_THAT(output, HasSubstr("heat: a new life begins"));
  EXPECT_EQ(results(output), expected) << second.output;
  return in_the_middle;
}

class Heat : public ::testing::TestWithParam<int> {};

TEST_P(Heat, SameBitsWhereverItIsKilled) {
  OrphanWatch orphans;
  const auto begin = std::chrono::steady_clock::now();
  const Outcome undisturbed = run(heat({}));
  const auto duration = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  ASSERT_EQ(undisturbed.exit_code, 0) << undisturbed.output;
  const std::string expected = results(undisturbed.output);
  ASSERT_THAT(expected, HasSubstr("checksum "));
  ASSERT_THAT(expected, HasSubstr("step " + std::to_string(kSteps) + " "));

  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  int in_the_middle = 0;
  for (int moment = 0; moment < kKillMomentsPerRound && !::testing::Test::HasFailure(); ++moment) {
    const std::chrono::microseconds delay(random() % (static_cast<unsigned>(duration.count()) + 1));
    SCOPED_TRACE("kill " + std::to_string(moment) + " after " + std::to_string(delay.count()) + " us");
    if (kill_and_restart(delay, expected)) ++in_the_middle;
  }
  RecordProperty("killed_in_the_middle", in_the_middle);
  EXPECT_THAT(orphans.left_over(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Rounds, Heat, ::testing::Range(0, kRounds));

}  // namespace
}  // namespace stillpoint::e2e
