// `stillpoint restart` itself is disturbed: signals at any moment, a second one on the same image.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <thread>

#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kMoments = 10;

class RestartInterrupted : public ::testing::Test {
 protected:
  void SetUp() override {
    job_.start();
    const Outcome checkpoint = job_.checkpoint(job_.program().pid());
    ASSERT_EQ(checkpoint.exit_code, 0) << checkpoint.output;
    job_.kill_program();
    random_.seed(seed_);
  }

  // Starts a restart and sends `number` somewhere in its first 60 ms: from its exec to the running program. Its exit
  // code.
  int interrupt(int number) {
    StartOptions options;
    options.output = job_.path("said");
    RunningProgram restart({stillpoint_command(), "restart", job_.images()}, options);
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % 60000));
    restart.signal(number);
    return restart.wait();
  }

  // The last restart of all goes through.
  void expect_restorable() {
    const Outcome verified = job_.stillpoint({"verify", job_.images()});
    EXPECT_EQ(verified.exit_code, 0) << verified.output;
    ASSERT_GT(job_.restart(), 0) << job_.said();
    EXPECT_EQ(job_.finish(job_.restarter()), 0) << job_.said();
    EXPECT_TRUE(job_.output_is_whole()) << job_.output();
    EXPECT_THAT(orphans_.left_over(), IsEmpty());
  }

  const unsigned seed_ = std::random_device{}();
  std::mt19937 random_;
  OrphanWatch orphans_;
  TickerJob job_{TickerJob::Kind::kPlain};
};

TEST_F(RestartInterrupted, BySigint) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  for (int moment = 0; moment < kMoments && !HasFailure(); ++moment) {
    // Before the program runs it ends the restart; afterwards it is the program's, which dies of it: the same to a
    // shell.
    EXPECT_EQ(interrupt(SIGINT), 128 + SIGINT) << job_.said();
    EXPECT_THAT(orphans_.left_over(), IsEmpty()) << job_.said();
  }
  expect_restorable();
}

TEST_F(RestartInterrupted, BySigkill) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  for (int moment = 0; moment < kMoments && !HasFailure(); ++moment) {
    EXPECT_EQ(interrupt(SIGKILL), 128 + SIGKILL);
    // A program that runs already runs on without its restarter. One that was half built is gone.
    const auto whole = [this] { return processes_naming(job_.path("finish")); };
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    for (const pid_t pid : whole()) {
      EXPECT_TRUE(job_.ticks_go_on(1)) << "a half-built program is left behind";
      ::kill(pid, SIGKILL);
    }
    EXPECT_THAT(orphans_.left_over(), IsEmpty()) << job_.said();
  }
  expect_restorable();
}

TEST_F(RestartInterrupted, BySecondRestartOfTheSameImage) {
  const pid_t pid = job_.restart();
  ASSERT_GT(pid, 0) << job_.said();
  for (const std::string& target : {job_.images(), job_.image(1)}) {
    const Outcome second = job_.stillpoint({"restart", target});
    EXPECT_EQ(second.exit_code, 125) << second.output;
    EXPECT_THAT(second.output, AllOf(HasSubstr("is running"), HasSubstr(std::to_string(job_.restarter().pid()))));
  }
  ASSERT_TRUE(job_.ticks_go_on());
  EXPECT_EQ(job_.finish(job_.restarter(), "-15"), 128 + SIGTERM) << job_.said();
  EXPECT_THAT(orphans_.left_over(), IsEmpty());
}

}  // namespace
}  // namespace stillpoint::e2e
