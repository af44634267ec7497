// The design's examples as a C++20 caller writes them, and the vocabulary types.
#include <gtest/gtest.h>
#include <stillpoint/absl.h>
#include <stillpoint/checkpointer.h>
#include <stillpoint/hooks.h>
#include <stillpoint/resources.h>

#include <vector>

#include "tests/sdk/test_support.h"

namespace stillpoint {
namespace {

struct Log {
  bool flushed = false;
  bool flush() { return flushed = true; }
};

TEST(CxxInterface, TheLoopOfTheReadme) {
  const sdk::TemporaryDirectory directory;
  stillpoint::Checkpointer checkpointer(
      {.directory = directory.path(), .every = std::chrono::minutes(10), .keep_last = 3});
  for (int step = 0; step < 3; ++step) checkpointer.poll();
  EXPECT_FALSE(checkpointer.due());
}

TEST(CxxInterface, ThePrimitive) {
  const sdk::TemporaryDirectory directory;
  const sdk::Environment helper("STILLPOINT_HELPER", FAKE_HELPER);
  Log log;
  stillpoint::HookRegistration sync = stillpoint::on_pre_dump("flush log", [&] { return log.flush(); });
  std::vector<char> scratch(100000);
  stillpoint::exclude_memory(scratch.data(), scratch.size());
  stillpoint::Result<stillpoint::CheckpointResult> result = stillpoint::checkpoint({.directory = directory.path()});
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_TRUE(result->outcome == stillpoint::Outcome::kResumed);
  EXPECT_TRUE(log.flushed);
  EXPECT_TRUE(stillpoint::include_memory(scratch.data(), scratch.size()).ok());
}

TEST(CxxInterface, HooksMayReturnAnAbslStatus) {
  const sdk::TemporaryDirectory directory;
  const sdk::Environment helper("STILLPOINT_HELPER", FAKE_HELPER);
  const stillpoint::HookRegistration hook =
      stillpoint::on_pre_dump("absl", [] { return absl::InternalError("from Abseil"); });
  const Status status = stillpoint::checkpoint({.directory = directory.path()}).status();
  EXPECT_EQ(failed_hook(status), "absl");
  const absl::Status converted = to_absl(status);
  EXPECT_TRUE(absl::IsAborted(converted));
  EXPECT_EQ(converted.GetPayload("stillpoint.dev/failed-hook"), absl::Cord("absl"));
}

TEST(CxxInterface, StatusesConvertToAbseilAndBack) {
  EXPECT_TRUE(to_absl(Status()).ok());
  EXPECT_TRUE(from_absl(absl::OkStatus()).ok());
  EXPECT_EQ(from_absl(absl::DataLossError("flipped")).to_string(), "DATA_LOSS: flipped");
  EXPECT_EQ(*to_absl(Result<int>(7)), 7);
  EXPECT_EQ(to_absl(Result<int>(Status(Code::kNotFound, "no"))).status(), absl::NotFoundError("no"));
  EXPECT_EQ(*from_absl(absl::StatusOr<int>(8)), 8);
  EXPECT_EQ(from_absl(absl::StatusOr<int>(absl::UnknownError("x"))).status().code(), Code::kUnknown);
}

TEST(CxxInterface, ResultHoldsOneOfTwo) {
  Result<std::string> good("text");
  EXPECT_TRUE(good.ok());
  EXPECT_EQ(good->size(), 4u);
  EXPECT_EQ(*std::move(good), "text");
  const Result<std::string> bad = Status(Code::kInternal, "broken");
  EXPECT_FALSE(bad);
  EXPECT_EQ(bad.value_or("else"), "else");
  EXPECT_EQ(bad.status().to_string(), "INTERNAL: broken");
  EXPECT_FALSE(Result<int>(Status()).ok()) << "an OK status is no value";
  EXPECT_DEATH((void)bad.value(), "broken");
}

TEST(CxxInterface, CodesHaveNames) {
  EXPECT_STREQ(code_name(Code::kOk), "OK");
  EXPECT_STREQ(code_name(Code::kUnauthenticated), "UNAUTHENTICATED");
  EXPECT_STREQ(stillpoint_code_name(17), "UNKNOWN");
  EXPECT_STREQ(stillpoint_code_name(-1), "UNKNOWN");
  EXPECT_STREQ(stillpoint_version(), STILLPOINT_VERSION_STRING);
}

}  // namespace
}  // namespace stillpoint
