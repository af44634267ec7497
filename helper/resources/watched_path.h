// From an inode that an inotify instance watches to a path that leads to it. The kernel keeps no path.
#ifndef STILLPOINT_HELPER_RESOURCES_WATCHED_PATH_H_
#define STILLPOINT_HELPER_RESOURCES_WATCHED_PATH_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace stillpoint {

struct WatchedInode {
  uint64_t inode = 0;
  dev_t device = 0;      // of the superblock, as /proc/PID/mountinfo shows it
  int handle_type = -1;  // -1: the filesystem has no file handles
  std::string handle;
};

// Opens the file handle where that is permitted (cap_dac_read_search). Else looks among the files and directories
// the process has in use and their parents, and then below its working directory and the filesystem's mount points,
// for a limited number of directory entries. NOT_FOUND when none of this finds it.
absl::StatusOr<std::string> find_watched_path(pid_t pid, const WatchedInode& watched);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_WATCHED_PATH_H_
