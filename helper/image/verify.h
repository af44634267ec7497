// Reading an image for its checksums.
#ifndef STILLPOINT_HELPER_IMAGE_VERIFY_H_
#define STILLPOINT_HELPER_IMAGE_VERIFY_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/base/unique_fd.h"
#include "helper/image/checksum.h"
#include "helper/image/manifest.pb.h"

namespace stillpoint::image {

// Reads one chunk of the open file of `entry` and compares its checksum; DATA_LOSS names file, chunk and bytes.
absl::StatusOr<absl::string_view> read_checked_chunk(ChunkBuffer& buffer, int fd, const FileEntry& entry, int chunk,
                                                     absl::string_view label);

// DIR/files of the image directory `image`.
absl::StatusOr<UniqueFd> open_stored_files(int image, absl::string_view label);

// Every error in the image, its stored files and the images it is a delta of.
std::vector<absl::Status> verify_chain(int fd, const Manifest& manifest, absl::string_view label,
                                       const std::function<void(uint64_t done, uint64_t total)>& progress);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_VERIFY_H_
