// DIR/files: executables and libraries, stored once per job.
#ifndef STILLPOINT_HELPER_IMAGE_STORED_FILES_H_
#define STILLPOINT_HELPER_IMAGE_STORED_FILES_H_

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/image/manifest.pb.h"

namespace stillpoint::image {

// True when size and checksums of the open file are those of `entry`.
absl::StatusOr<bool> has_content(int fd, const FileEntry& entry, absl::string_view label);

// Every stored file that the manifest names is there with its size. The cheap check that precedes a publication.
absl::Status check_stored_files(int job_directory, const Manifest& manifest, absl::string_view label);

// Removes the stored files that are not in `needed`; files with other people's names are left alone.
absl::Status remove_stored_files_except(int job_directory, const std::set<std::string>& needed,
                                        absl::string_view label);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_STORED_FILES_H_
