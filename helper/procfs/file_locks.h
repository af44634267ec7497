// Lines of /proc/locks, and those that fdinfo has behind "lock:", which look the same.
#ifndef STILLPOINT_HELPER_PROCFS_FILE_LOCKS_H_
#define STILLPOINT_HELPER_PROCFS_FILE_LOCKS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace stillpoint::procfs {

inline constexpr uint64_t kEndOfFile = ~uint64_t{0} >> 1;  // the last byte of a lock without an end

struct FileLock {
  enum class Type { kFlock, kPosix, kOpenFileDescription, kOther };
  Type type = Type::kOther;
  bool write = false;    // else read
  bool waiting = false;  // somebody waits for it and does not have it
  // As this /proc numbers processes. -1 of a lock that belongs to an open file description; of others it may be one
  // that has gone since, 0 where it has no number here, or negative on another machine.
  pid_t pid = 0;
  std::string file;  // "fe:00:10952852": of the filesystem, which is not always what stat(2) says, and inode
  uint64_t first = 0, last = 0;
};

// False: malformed.
bool parse_file_lock(absl::string_view line, FileLock& lock);
// /proc/locks.
absl::StatusOr<std::vector<FileLock>> parse_file_locks(absl::string_view text);
absl::StatusOr<std::vector<FileLock>> read_file_locks(const std::string& proc = "/proc");

}  // namespace stillpoint::procfs

#endif  // STILLPOINT_HELPER_PROCFS_FILE_LOCKS_H_
