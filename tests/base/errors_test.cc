#include "helper/base/errors.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/cord.h"

namespace stillpoint {
namespace {

TEST(Errors, NamesErrno) {
  EXPECT_EQ(errno_name(EAGAIN), "EAGAIN");
  EXPECT_EQ(errno_name(ENOSPC), "ENOSPC");
  EXPECT_EQ(errno_name(4242), "errno 4242");
  EXPECT_EQ(errno_name(-7), "errno -7");
}

TEST(Errors, StatusHasCodeCallAndName) {
  const absl::Status status = errno_status(EAGAIN, "fcntl(F_SETLK) on fd 7 /data/run.lock");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), "fcntl(F_SETLK) on fd 7 /data/run.lock: EAGAIN (Resource temporarily unavailable)");
  EXPECT_EQ(errno_status(EACCES, "open x").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(errno_status(ENOENT, "open x").code(), absl::StatusCode::kNotFound);
  // A task that is gone is NOT_FOUND, whichever way the kernel says it.
  EXPECT_EQ(errno_status(ESRCH, "kill 1").code(), absl::StatusCode::kNotFound);
}

TEST(Errors, UnknownNumberIsStillAnError) {
  const absl::Status status = errno_status(4242, "call");
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.message(), "call: errno 4242 (unknown error)");
}

TEST(Errors, ContextGoesInFrontAndKeepsPayloads) {
  absl::Status status = absl::DataLossError("bad chunk");
  status.SetPayload("type/x", absl::Cord("payload"));
  const absl::Status wrapped = with_context(status, "ckpt-00000001");
  EXPECT_EQ(wrapped.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(wrapped.message(), "ckpt-00000001: bad chunk");
  ASSERT_TRUE(wrapped.GetPayload("type/x").has_value());
  EXPECT_EQ(*wrapped.GetPayload("type/x"), "payload");
}

TEST(Errors, ContextLeavesOkAlone) { EXPECT_TRUE(with_context(absl::OkStatus(), "anything").ok()); }

absl::StatusOr<std::unique_ptr<int>> make(bool succeed) {
  if (!succeed) return absl::AbortedError("no");
  return std::make_unique<int>(7);
}

// Two in one function: the macro's temporaries must not collide. Move-only values must pass.
absl::StatusOr<int> sum(bool first, bool second) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> a, make(first));
  ASSIGN_OR_RETURN(std::unique_ptr<int> b, make(second));
  RETURN_IF_ERROR(absl::OkStatus());
  return *a + *b;
}

TEST(Errors, AssignOrReturn) {
  ASSERT_TRUE(sum(true, true).ok());
  EXPECT_EQ(*sum(true, true), 14);
  EXPECT_EQ(sum(false, true).status(), absl::AbortedError("no"));
  EXPECT_EQ(sum(true, false).status(), absl::AbortedError("no"));
}

TEST(Errors, ReturnIfErrorEvaluatesOnce) {
  int calls = 0;
  const auto fail = [&] {
    ++calls;
    return absl::InternalError("x");
  };
  const auto outer = [&]() -> absl::Status {
    RETURN_IF_ERROR(fail());
    ++calls;
    return absl::OkStatus();
  };
  EXPECT_EQ(outer(), absl::InternalError("x"));
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace stillpoint
