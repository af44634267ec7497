#include "sdk/snapshot.h"

#include <sched.h>
#include <sys/resource.h>

#include "sdk/raw_syscall.h"

namespace stillpoint::sdk {
namespace {

struct SnapshotRequest {
  int control_fd;
  int64_t result;
};

// In the snapshot. Its memory is the application's at this instant: nothing but system calls and this frame may be
// touched.
STILLPOINT_NO_SANITIZE [[noreturn]] void wait_for_the_end(int control_fd) {
  rlimit no_core{0, 0};
  raw_syscall(SYS_prlimit64, 0, RLIMIT_CORE, syscall_argument(&no_core), 0);
  char byte;
  long received = 0;
  do {
    received = raw_syscall(SYS_recvfrom, control_fd, syscall_argument(&byte), 1, 0, 0, 0);
  } while (received == -EINTR);
  for (;;) raw_syscall(SYS_exit_group, 0);
}

STILLPOINT_NO_SANITIZE int start_snapshot(void* argument) {
  SnapshotRequest& request = *static_cast<SnapshotRequest*>(argument);
  // No stack of its own: it goes on here, in its own copy of this one. No exit signal.
  const long pid = raw_syscall(SYS_clone, CLONE_FILES, 0, 0, 0, 0);
  if (pid == 0) wait_for_the_end(request.control_fd);
  request.result = pid;
  return 0;
}

}  // namespace

int64_t fork_snapshot(int control_fd, CloneStacks& stacks) {
  if (orphans_land_here()) return -EOPNOTSUPP;
  SnapshotRequest request{control_fd, -ECHILD};
  const int result = run_in_intermediate(&start_snapshot, &request, stacks);
  return result < 0 ? result : request.result;
}

}  // namespace stillpoint::sdk
