// The names that may stand in a checkpoint directory. Everything read from a
// directory or a manifest passes through here before it reaches a system call.
#ifndef STILLPOINT_HELPER_IMAGE_NAMES_H_
#define STILLPOINT_HELPER_IMAGE_NAMES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace stillpoint::image {

inline constexpr char kLatestName[] = "latest";
inline constexpr char kOwnerName[] = "owner";
inline constexpr char kStoredFilesName[] = "files";
inline constexpr char kTemporaryPrefix[] = ".tmp-";

// A file of an image besides the manifest: letters, digits, '.', '_' and '-', at most 128, no leading dot.
bool is_file_name(absl::string_view name);

// A file below DIR/files: a build-id in lower-case hex or "xxh3-" and hex; either may go on with '-' and hex.
bool is_stored_name(absl::string_view name);

bool is_temporary_name(absl::string_view name);
// ".tmp-<sequence>-<16 random hex digits>": an image that is being written or deleted.
std::string temporary_image_name(uint64_t sequence);
// ".tmp-<what>-<16 random hex digits>"
std::string temporary_name(absl::string_view what);
// The sequence in a temporary image name; nullopt for every other name.
std::optional<uint64_t> temporary_sequence(absl::string_view name);

// How an error names what stands beside an image: "ckpt/files" for "ckpt/ckpt-00000042" and "files".
std::string beside_image(absl::string_view image_label, absl::string_view name);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_NAMES_H_
