#include "sdk/detached_clone.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sdk/raw_syscall.h"

namespace stillpoint::sdk {
namespace {

// While it lives, orphans below the application go to the subreaper above it.
class NoSubreaper {
 public:
  NoSubreaper() {
    int is_one = 0;
    if (raw_syscall(SYS_prctl, PR_GET_CHILD_SUBREAPER, syscall_argument(&is_one)) == 0 && is_one != 0) {
      was_ = raw_syscall(SYS_prctl, PR_SET_CHILD_SUBREAPER, 0) == 0;
    }
  }
  ~NoSubreaper() {
    if (was_) raw_syscall(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
  }
  NoSubreaper(const NoSubreaper&) = delete;
  NoSubreaper& operator=(const NoSubreaper&) = delete;

 private:
  bool was_ = false;
};

}  // namespace

bool orphans_land_here() { return raw_syscall(SYS_getpid) == 1; }

STILLPOINT_NO_SANITIZE int run_in_intermediate(int (*intermediate)(void*), void* argument, CloneStacks& stacks) {
  NoSubreaper no_subreaper;
  // CLONE_VFORK: this thread waits in the kernel until the intermediate is gone.
  const int flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_FS;
  const int saved_errno = errno;
  const pid_t pid = ::clone(intermediate, stacks.intermediate + kCloneStackSize, flags, argument);
  const int error = pid < 0 ? errno : 0;
  errno = saved_errno;
  if (error != 0) return -error;
  long reaped = 0;
  do {
    reaped = raw_syscall(SYS_wait4, pid, 0, __WALL, 0);
  } while (reaped == -EINTR);
  return 0;  // -ECHILD: another thread's wait4(-1, __WALL) was faster
}

}  // namespace stillpoint::sdk
