// The init of a restored process's own pid namespace.
#ifndef STILLPOINT_HELPER_RESTORE_NAMESPACE_INIT_H_
#define STILLPOINT_HELPER_RESTORE_NAMESPACE_INIT_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"

namespace stillpoint {

// What init tells the restorer outside, once: how the restore went.
struct InitReport {
  absl::Status status;
  std::vector<std::string> notes;
  UniqueFd pidfd;  // of the restored process
};
absl::Status send_report(int socket, const InitReport& report);
// An error when init died before it could tell.
absl::StatusOr<InitReport> receive_report(int socket);

// Reaps whatever ends in the namespace; writes the wait status of `root` to `status_pipe` when that ends, and leaves
// when nothing is left. Holds no other fd.
[[noreturn]] void run_as_init(pid_t root, UniqueFd status_pipe);

// The pid, in the caller's pid namespace, of the process behind `pidfd`.
absl::StatusOr<pid_t> pid_of_pidfd(int pidfd);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_NAMESPACE_INIT_H_
