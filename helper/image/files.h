// The system calls under the image room: one path component at a time, below a
// directory fd, never through a symbolic link.
//
// `label` is the path as a person would write it, for messages only.
#ifndef STILLPOINT_HELPER_IMAGE_FILES_H_
#define STILLPOINT_HELPER_IMAGE_FILES_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/base/unique_fd.h"

namespace stillpoint::image {

// openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, close-on-exec. `name` is a single component; any other
// name is EXDEV. -1 and errno on failure.
int open_beneath(int directory, const std::string& name, int flags, mode_t mode = 0);

// The same directory through an open file description of its own, readable even if `directory` is O_PATH.
absl::StatusOr<UniqueFd> reopen_directory(int directory, absl::string_view label);
absl::StatusOr<UniqueFd> open_directory(int parent, const std::string& name, absl::string_view label);
// An existing regular file, O_RDONLY with `extra_flags`. NOT_FOUND when it is missing, DATA_LOSS when it is a symbolic
// link, a FIFO, a directory or a device: none of them is opened for longer than it takes to see that.
absl::StatusOr<UniqueFd> open_regular(int directory, const std::string& name, absl::string_view label,
                                      int extra_flags = 0);
// A file that did not exist, O_RDWR, mode 0600 whatever the umask.
absl::StatusOr<UniqueFd> create_regular(int directory, const std::string& name, absl::string_view label);
// A directory that did not exist, mode 0700 whatever the umask.
absl::StatusOr<UniqueFd> create_directory(int parent, const std::string& name, absl::string_view label);

// Names in a directory without "." and "..", ascending.
absl::StatusOr<std::vector<std::string>> list_directory(int directory, absl::string_view label);
absl::Status write_bytes(int fd, absl::string_view bytes, absl::string_view label);
absl::Status sync_file(int fd, absl::string_view label);
// Removes a file, a link, or a directory with all that is in it. Fine when there is no such name.
absl::Status remove_tree(int parent, const std::string& name, absl::string_view label);
absl::Status rename_entry(int directory, const std::string& from, const std::string& to, absl::string_view label);

// Takes an exclusive flock(2) on a temporary file or directory: who finds it locked knows that its writer lives.
enum class Liveness { kDead, kAlive, kUnknown };  // unknown: the filesystem has no locks
void mark_alive(int fd);
Liveness liveness(int directory, const std::string& name);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_FILES_H_
