// What an image directory holds, compared with what its manifest names.
#ifndef STILLPOINT_HELPER_IMAGE_IMAGE_LAYOUT_H_
#define STILLPOINT_HELPER_IMAGE_IMAGE_LAYOUT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/base/unique_fd.h"
#include "helper/image/manifest.pb.h"

namespace stillpoint::image {

// Reads and checks manifest.pb of the image directory `fd`. DATA_LOSS: missing or damaged; UNIMPLEMENTED: from another
// release.
absl::StatusOr<Manifest> read_manifest(int fd, absl::string_view label);

// A file as its manifest's entry describes it, by kind and size. `directory` is the image or DIR/files.
absl::StatusOr<UniqueFd> open_entry(int directory, const FileEntry& entry, absl::string_view label,
                                    int extra_flags = 0);

// Everything missing, foreign, of the wrong kind or size in the image directory.
std::vector<absl::Status> check_layout(int fd, const Manifest& manifest, absl::string_view label);

// Several errors as one: their messages in one line, the code of the first. OK when there are none.
absl::Status join_errors(const std::vector<absl::Status>& errors);

// The checkpoint directory an image lies in, O_PATH.
absl::StatusOr<UniqueFd> open_job_of_image(int fd, absl::string_view label);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_IMAGE_LAYOUT_H_
