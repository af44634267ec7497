#include "helper/base/errors.h"

#include <cstring>

namespace stillpoint {

std::string errno_name(int error) {
  const char* name = ::strerrorname_np(error);
  return name != nullptr ? name : absl::StrCat("errno ", error);
}

absl::Status errno_status(int error, absl::string_view what) {
  const char* text = ::strerrordesc_np(error);
  return absl::Status(absl::ErrnoToStatusCode(error),
                      absl::StrCat(what, ": ", errno_name(error), " (", text != nullptr ? text : "unknown error", ")"));
}

absl::Status with_context(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status result(status.code(), absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) { result.SetPayload(url, payload); });
  return result;
}

}  // namespace stillpoint
