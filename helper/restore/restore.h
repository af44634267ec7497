// The restore of an image: check everything, build the new process, start it.
#ifndef STILLPOINT_HELPER_RESTORE_RESTORE_H_
#define STILLPOINT_HELPER_RESTORE_RESTORE_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"

namespace stillpoint {

struct RestoreOptions {
  std::string image_name;  // for messages
  bool embed = true;       // map stored copies of files that were replaced
  bool new_namespace = false;
  std::vector<std::pair<std::string, std::string>> map_paths;
  std::string proc = "/proc";  // set by restore(): the restarter's, also where the program gets one of its own
};

struct RestoreResult {
  pid_t pid = 0;        // in the caller's pid namespace
  pid_t inner_pid = 0;  // as the process sees itself
  UniqueFd pidfd;
  bool own_namespace = false;
  pid_t child_pid = 0;   // what the process's parent waits for: the process, or the init of its namespace
  UniqueFd status_pipe;  // own_namespace only: init writes the wait status (native int) here when the process ends
  std::vector<std::string> notes;
};

// Restores the image in `image_fd` (directory ckpt-N; DIR/files is found through ".."). The caller becomes the
// process's parent: in its own pid namespace by CLONE_PARENT semantics when `as_sibling` is set (the process is then a
// child of the caller's parent). Nothing of the process has run, and nothing is left behind, when an error is returned.
absl::StatusOr<RestoreResult> restore(const RestoreOptions& options, int image_fd, bool as_sibling);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_RESTORE_H_
