// Status and Result<T>: how Stillpoint's C++ interface reports errors. Nothing here throws.
// Values are ordinary objects: distinct objects may be used from distinct threads.
#ifndef STILLPOINT_STATUS_H_
#define STILLPOINT_STATUS_H_

#include <stillpoint/stillpoint.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace stillpoint {
inline namespace v0 {

// The canonical codes; see stillpoint.h.
enum class Code : std::int32_t {
  kOk = STILLPOINT_OK,
  kCancelled = STILLPOINT_CANCELLED,
  kUnknown = STILLPOINT_UNKNOWN,
  kInvalidArgument = STILLPOINT_INVALID_ARGUMENT,
  kDeadlineExceeded = STILLPOINT_DEADLINE_EXCEEDED,
  kNotFound = STILLPOINT_NOT_FOUND,
  kAlreadyExists = STILLPOINT_ALREADY_EXISTS,
  kPermissionDenied = STILLPOINT_PERMISSION_DENIED,
  kResourceExhausted = STILLPOINT_RESOURCE_EXHAUSTED,
  kFailedPrecondition = STILLPOINT_FAILED_PRECONDITION,
  kAborted = STILLPOINT_ABORTED,
  kOutOfRange = STILLPOINT_OUT_OF_RANGE,
  kUnimplemented = STILLPOINT_UNIMPLEMENTED,
  kInternal = STILLPOINT_INTERNAL,
  kUnavailable = STILLPOINT_UNAVAILABLE,
  kDataLoss = STILLPOINT_DATA_LOSS,
  kUnauthenticated = STILLPOINT_UNAUTHENTICATED,
};

// "FAILED_PRECONDITION"
inline const char* code_name(Code code) { return stillpoint_code_name(static_cast<stillpoint_code_t>(code)); }

// One thing that made a checkpoint refuse, with what to do about it.
struct Finding {
  std::string code;    // stable: "SP-LOCK-POSIX"
  std::string object;  // "fd 7 /data/run.lock"
  std::string reason;
  std::string remedy;
};

struct CheckpointResult;  // checkpoint.h

namespace internal {

// What an error carries beside its text. Shared between copies, never changed.
struct StatusDetail {
  std::vector<Finding> findings;
  std::string failed_hook;
  std::shared_ptr<const CheckpointResult> completed;
};

}  // namespace internal

class Status {
 public:
  Status() = default;  // OK
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  Status(Code code, std::string message, std::shared_ptr<const internal::StatusDetail> detail)
      : code_(code), message_(std::move(message)), detail_(std::move(detail)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  // "OK", or "ABORTED: hook 'flush log' failed: disk full".
  std::string to_string() const { return ok() ? "OK" : std::string(code_name(code_)) + ": " + message_; }

  const internal::StatusDetail* detail() const { return detail_.get(); }

 private:
  Code code_ = Code::kOk;
  std::string message_;
  std::shared_ptr<const internal::StatusDetail> detail_;
};

inline Status ok_status() { return Status(); }

// All findings of a refused checkpoint; empty for any other status.
inline std::vector<Finding> findings(const Status& status) {
  return status.detail() == nullptr ? std::vector<Finding>() : status.detail()->findings;
}

// The name of the hook whose failure this is; empty for any other status.
inline std::string failed_hook(const Status& status) {
  return status.detail() == nullptr ? std::string() : status.detail()->failed_hook;
}

// When only a post-resume or post-restore hook failed: the checkpoint (or restart) that is behind the error. Else null.
inline const CheckpointResult* completed(const Status& status) {
  return status.detail() == nullptr ? nullptr : status.detail()->completed.get();
}

// A T, or why there is none.
template <typename T>
class Result {
 public:
  Result(T value) : content_(std::move(value)) {}      // NOLINT(google-explicit-constructor): `return value;`
  Result(Status error) : content_(std::move(error)) {  // NOLINT(google-explicit-constructor): `return error;`
    if (std::get<Status>(content_).ok()) {
      content_ = Status(Code::kInternal, "a Result was made from an OK status without a value");
    }
  }

  bool ok() const { return std::holds_alternative<T>(content_); }
  explicit operator bool() const { return ok(); }
  Status status() const { return ok() ? Status() : std::get<Status>(content_); }

  // Only when ok(); otherwise the program ends with the error on standard error.
  T& value() & { return checked(); }
  const T& value() const& { return const_cast<Result*>(this)->checked(); }
  T&& value() && { return std::move(checked()); }
  T& operator*() & { return checked(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(checked()); }
  T* operator->() { return &checked(); }
  const T* operator->() const { return &value(); }

  T value_or(T other) const { return ok() ? value() : std::move(other); }

 private:
  T& checked() {
    if (T* value = std::get_if<T>(&content_)) return *value;
    std::fprintf(stderr, "stillpoint: value() of a failed Result: %s\n",
                 std::get<Status>(content_).to_string().c_str());
    std::abort();
  }

  std::variant<Status, T> content_;
};

}  // namespace v0
}  // namespace stillpoint

#endif  // STILLPOINT_STATUS_H_
