// The text of DIR/owner. Private to this room.
#ifndef STILLPOINT_HELPER_IMAGE_OWNER_FILE_H_
#define STILLPOINT_HELPER_IMAGE_OWNER_FILE_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/image/owner.h"

namespace stillpoint::image {

// Older lives than this many are forgotten.
inline constexpr size_t kLivesRemembered = 128;

absl::StatusOr<std::optional<Owner>> read_owner_file(const JobDirectory& directory);
// Durable on return. The caller holds the directory's lock.
absl::Status write_owner_file(const JobDirectory& directory, const Owner& owner);
absl::Status remove_owner_file(const JobDirectory& directory);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_OWNER_FILE_H_
