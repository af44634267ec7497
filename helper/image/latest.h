// DIR/latest, the symbolic link that names the image a restart takes. It is read, never followed.
#ifndef STILLPOINT_HELPER_IMAGE_LATEST_H_
#define STILLPOINT_HELPER_IMAGE_LATEST_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace stillpoint::image {

// nullopt: there is none.
absl::StatusOr<std::optional<uint64_t>> read_latest(int directory, absl::string_view label);

// A new link to the image, made under the returned temporary name and to be renamed over `latest`: whatever can fail
// for want of space or permission fails before anything is published.
absl::StatusOr<std::string> prepare_latest(int directory, uint64_t sequence, absl::string_view label);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_LATEST_H_
