// A cheap identity of a file's content: hashes of both ends of what it held at the dump.
#ifndef STILLPOINT_HELPER_RESOURCES_FILE_FINGERPRINT_H_
#define STILLPOINT_HELPER_RESOURCES_FILE_FINGERPRINT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/resources/regular_file.pb.h"

namespace stillpoint {

// Hashes up to 4 KiB at the beginning and before byte `size` of a file open for reading.
absl::StatusOr<resources::Fingerprint> fingerprint(int fd, uint64_t size, absl::string_view what);

// True on sysfs, cgroup, tracefs and their like, where reading may have effects and sizes mean nothing.
bool on_pseudo_filesystem(int fd);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_FILE_FINGERPRINT_H_
