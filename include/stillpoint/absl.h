// Conversions for programs that use Abseil: theirs, of whatever version. Nothing else in Stillpoint includes this
// header.
#ifndef STILLPOINT_ABSL_H_
#define STILLPOINT_ABSL_H_

#include <stillpoint/status.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace stillpoint {
inline namespace v0 {

// The failed hook's name is kept as the payload "stillpoint.dev/failed-hook", each finding as
// "stillpoint.dev/finding/N" with the lines code, object, reason, remedy.
inline absl::Status to_absl(const Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status to(static_cast<absl::StatusCode>(status.code()), status.message());
  const std::string hook = failed_hook(status);
  if (!hook.empty()) to.SetPayload("stillpoint.dev/failed-hook", absl::Cord(hook));
  std::size_t index = 0;
  for (const Finding& finding : findings(status)) {
    to.SetPayload("stillpoint.dev/finding/" + std::to_string(index++),
                  absl::Cord(finding.code + "\n" + finding.object + "\n" + finding.reason + "\n" + finding.remedy));
  }
  return to;
}

template <typename T>
absl::StatusOr<T> to_absl(Result<T> result) {
  if (!result.ok()) return to_absl(result.status());
  return *std::move(result);
}

inline Status from_absl(const absl::Status& status) {
  if (status.ok()) return Status();
  return Status(static_cast<Code>(status.raw_code()), std::string(status.message()));
}

template <typename T>
Result<T> from_absl(absl::StatusOr<T> result) {
  if (!result.ok()) return from_absl(result.status());
  return *std::move(result);
}

}  // namespace v0
}  // namespace stillpoint

#endif  // STILLPOINT_ABSL_H_
