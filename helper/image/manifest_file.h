// manifest.pb: a header, then a serialized Manifest, and nothing behind it.
//
//   offset size
//        0    8  magic "SPIMAGE\n"
//        8    4  format version, little endian as all that follows
//       12    4  reserved, zero
//       16    8  size of the Manifest in bytes
//       24   16  XXH3-128 (low half first) of the Manifest, seeded with the XXH3-64 of bytes 0-23
//       40       the Manifest
//
// The header and what its checksum covers are the same in every format version, so that an image of a later release
// is told from a damaged one.
#ifndef STILLPOINT_HELPER_IMAGE_MANIFEST_FILE_H_
#define STILLPOINT_HELPER_IMAGE_MANIFEST_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/image/manifest.pb.h"

namespace stillpoint::image {

inline constexpr size_t kManifestHeaderSize = 40;
inline constexpr size_t kMaxManifestSize = size_t{256} << 20;  // 30 million chunks

// What stands on disk. `format_version` of the header is that of the manifest.
absl::StatusOr<std::string> frame_manifest(const Manifest& manifest);

// The header for any payload, followed by it.
std::string frame_payload(uint32_t format_version, absl::string_view payload);

// The inverse. `label` names the file. DATA_LOSS: damaged; UNIMPLEMENTED: made by a release that this one does not
// understand.
absl::StatusOr<Manifest> parse_manifest(absl::string_view bytes, absl::string_view label);

// What must hold for every manifest: names that are allowed, unique and ascending, and as many checksums as chunks.
absl::Status validate_manifest(const Manifest& manifest, absl::string_view label);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_MANIFEST_FILE_H_
