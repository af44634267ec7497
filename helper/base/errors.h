// Errors inside the helper and the tools: absl::Status with the system call,
// its errno name and the object it failed on.
#ifndef STILLPOINT_HELPER_BASE_ERRORS_H_
#define STILLPOINT_HELPER_BASE_ERRORS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace stillpoint {

// "EAGAIN" for EAGAIN; "errno 4242" for a number without a name.
std::string errno_name(int error);

// errno_status(EAGAIN, "fcntl(F_SETLK) on fd 7 /data/run.lock") gives
// "fcntl(F_SETLK) on fd 7 /data/run.lock: EAGAIN (Resource temporarily unavailable)".
// The status code follows absl::ErrnoToStatusCode.
absl::Status errno_status(int error, absl::string_view what);

// `status` with "context: " in front of its message; OK stays OK. Payloads are kept.
absl::Status with_context(const absl::Status& status, absl::string_view context);

}  // namespace stillpoint

#define STILLPOINT_CONCAT_(a, b) a##b
#define STILLPOINT_CONCAT(a, b) STILLPOINT_CONCAT_(a, b)

// Returns from the enclosing function when `expression` is an error status.
#define RETURN_IF_ERROR(expression)                                         \
  do {                                                                      \
    if (absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

// ASSIGN_OR_RETURN(auto value, f()) for an f that returns absl::StatusOr.
#define ASSIGN_OR_RETURN(declaration, expression) \
  ASSIGN_OR_RETURN_(STILLPOINT_CONCAT(status_or_, __LINE__), declaration, expression)
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration is no expression.
#define ASSIGN_OR_RETURN_(temporary, declaration, expression) \
  auto temporary = (expression);                              \
  if (!temporary.ok()) return std::move(temporary).status();  \
  declaration = *std::move(temporary)
// NOLINTEND(bugprone-macro-parentheses)

#endif  // STILLPOINT_HELPER_BASE_ERRORS_H_
