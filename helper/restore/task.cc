#include "helper/restore/task.h"

#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"

namespace stillpoint {

absl::StatusOr<pid_t> clone_task(pid_t pid, int exit_signal, unsigned long long flags,
                                 const std::function<void()>& child) {
  clone_args args{};
  args.flags = flags;
  args.exit_signal = (flags & CLONE_PARENT) != 0 ? 0 : static_cast<uint64_t>(exit_signal);
  if (pid != 0) {
    args.set_tid = reinterpret_cast<uint64_t>(&pid);
    args.set_tid_size = 1;
  }
  const long result = ::syscall(SYS_clone3, &args, sizeof args);
  if (result < 0) return errno_status(errno, absl::StrCat("clone3 with pid ", pid));
  if (result == 0) {
    child();
    ::_exit(125);
  }
  return static_cast<pid_t>(result);
}

}  // namespace stillpoint
