#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stillpoint/checkpointer.h>

#include <thread>

#include "sdk/anchor.h"
#include "tests/sdk/test_support.h"

namespace stillpoint::sdk {
namespace {

class CheckpointerTest : public testing::Test {
 protected:
  CheckpointerOptions options(std::chrono::nanoseconds every) const {
    CheckpointerOptions options;
    options.directory = directory_.path();
    options.helper = FAKE_HELPER;
    options.every = every;
    return options;
  }

  const TemporaryDirectory directory_;
};

void wait_until_due(const Checkpointer& checkpointer) {
  for (int i = 0; i < 30000 && !checkpointer.due(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_TRUE(checkpointer.due());
}

TEST_F(CheckpointerTest, DoesNothingBeforeTheInterval) {
  Checkpointer checkpointer(options(std::chrono::hours(1)));
  EXPECT_FALSE(checkpointer.due());
  const auto poll = checkpointer.poll();
  ASSERT_TRUE(poll.ok());
  EXPECT_EQ(*poll, Poll::kNothingDue);
}

TEST_F(CheckpointerTest, CheckpointsWhenDueAndThenWaitsAgain) {
  Checkpointer checkpointer(options(std::chrono::milliseconds(50)));
  wait_until_due(checkpointer);
  auto poll = checkpointer.poll();
  ASSERT_TRUE(poll.ok()) << poll.status().to_string();
  EXPECT_EQ(*poll, Poll::kCheckpointed);
  wait_until_due(checkpointer);
}

TEST_F(CheckpointerTest, AFailureIsReportedAndTriedAgainLater) {
  Checkpointer checkpointer(options(std::chrono::minutes(30)));
  const Environment mode("FAKE_HELPER", "error");
  EXPECT_EQ(checkpointer.checkpoint().status().code(), Code::kResourceExhausted);
  EXPECT_FALSE(checkpointer.due());
}

TEST_F(CheckpointerTest, AFailureOfPollIsSaidOnceWhereThereIsNoLog) {
  CheckpointerOptions broken = options(std::chrono::milliseconds(1));
  broken.helper = "/nonexistent";
  Checkpointer checkpointer(broken);
  const auto fail = [&] {
    wait_until_due(checkpointer);
    testing::internal::CaptureStderr();
    EXPECT_FALSE(checkpointer.poll().ok());
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_THAT(fail(), testing::AllOf(testing::HasSubstr("/nonexistent"), testing::EndsWith("\n")));
  EXPECT_EQ(fail(), "") << "said twice";
  const Environment log("STILLPOINT_LOG", "/dev/null");
  Checkpointer logging(broken);
  wait_until_due(logging);
  testing::internal::CaptureStderr();
  EXPECT_FALSE(logging.poll().ok());
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(CheckpointerTest, WithoutAnIntervalOnlyRequestsCount) {
  Checkpointer checkpointer(options(std::chrono::nanoseconds(0)));
  EXPECT_FALSE(checkpointer.due());
  EXPECT_TRUE(checkpointer.checkpoint().ok());
}

TEST_F(CheckpointerTest, PollIsCheap) {
  Checkpointer checkpointer(options(std::chrono::hours(1)));
  constexpr int kRounds = 1000000;
  timespec before{}, after{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  for (int i = 0; i < kRounds; ++i) checkpointer.poll();
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  const double ns =
      (static_cast<double>(after.tv_sec - before.tv_sec) * 1e9 + static_cast<double>(after.tv_nsec - before.tv_nsec)) /
      kRounds;
  RecordProperty("ns_per_poll", static_cast<int>(ns));
  EXPECT_LT(ns, 1000) << "a system call has crept in";
}

TEST_F(CheckpointerTest, TheCInterfaceChecksItsArguments) {
  stillpoint_poll_t poll = STILLPOINT_POLL_CHECKPOINTED;
  EXPECT_EQ(stillpoint_checkpointer_poll(nullptr, &poll, nullptr), STILLPOINT_INVALID_ARGUMENT);
  EXPECT_EQ(stillpoint_checkpointer_due(nullptr), 0);
  stillpoint_checkpointer_destroy(nullptr);
  stillpoint_checkpointer_options_t options = STILLPOINT_CHECKPOINTER_OPTIONS_INIT;
  EXPECT_EQ(stillpoint_checkpointer_create(&options, nullptr), STILLPOINT_INVALID_ARGUMENT);
  stillpoint_checkpointer_t* made = nullptr;
  ASSERT_EQ(stillpoint_checkpointer_create(&options, &made), STILLPOINT_OK);
  EXPECT_EQ(stillpoint_checkpointer_poll(made, nullptr, nullptr), STILLPOINT_OK);
  stillpoint_checkpointer_destroy(made);
}

}  // namespace
}  // namespace stillpoint::sdk
