#include "helper/service/namespaces.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace stillpoint {
namespace {

// Those that a restart makes.
constexpr int kJoinable = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWTIME | CLONE_NEWIPC;

// The CLONE_NEW* of what is to be joined; 0: nothing, or more than can be.
int differing_namespaces(pid_t pid) {
  int flags = 0;
  for (const auto& [kind, flag] : procfs::kNamespaceKinds) {
    const absl::StatusOr<uint64_t> ours = procfs::read_namespace_inode(::getpid(), kind);
    if (!ours.ok()) continue;  // a kernel without that kind
    const absl::StatusOr<uint64_t> its = procfs::read_namespace_inode(pid, kind);
    if (!its.ok() || (*its != *ours && (flag & kJoinable) == 0)) return 0;
    if (*its != *ours) flags |= flag;
  }
  // An IPC namespace comes with a user namespace; alone it is the program's own, with more in it than is saved.
  return (flags & CLONE_NEWIPC) != 0 && (flags & CLONE_NEWUSER) == 0 ? 0 : flags;
}

// A container has another.
bool same_root(pid_t pid) {
  struct stat ours = {}, its = {};
  const std::string path = absl::StrCat("/proc/", pid, "/root/");
  return ::stat("/", &ours) == 0 && ::stat(path.c_str(), &its) == 0 && ours.st_dev == its.st_dev &&
         ours.st_ino == its.st_ino;
}

// Only the child talks to the client: whatever ends it, the client sees the end of the conversation.
[[noreturn]] void end_like(pid_t child) {
  ::close_range(0, ~0U, 0);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) ::_exit(1);
  }
  if (WIFEXITED(status)) ::_exit(WEXITSTATUS(status));
  (void)::kill(::getpid(), WTERMSIG(status));
  ::_exit(1);  // a signal that is blocked here
}

// Pid and time namespaces are those of children: one is needed to be inside.
absl::Status go_on_in_child() {
  const pid_t child = ::fork();
  if (child < 0) return errno_status(errno, "fork");
  if (child > 0) end_like(child);
  // Joining a user namespace has made this process undumpable, which closes much of its own /proc to it.
  if (::prctl(PR_SET_DUMPABLE, 1) != 0) return errno_status(errno, "prctl(PR_SET_DUMPABLE)");
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return errno_status(errno, "prctl(PR_SET_PDEATHSIG)");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<pid_t> join_namespaces(pid_t pid, int pidfd) {
  const int flags = differing_namespaces(pid);
  if (flags == 0 || !same_root(pid)) return pid;
  ASSIGN_OR_RETURN(const procfs::TaskStatus status, procfs::read_status(pid, pid));
  const bool other_pids = (flags & CLONE_NEWPID) != 0;
  if (other_pids && status.namespace_pids.empty()) return pid;  // a kernel that does not tell
  const pid_t inner = other_pids ? status.namespace_pids.back() : pid;
  if (::setns(pidfd, flags) != 0) {
    if (errno == EPERM) return pid;
    return errno_status(errno, absl::StrCat("setns to the namespaces of pid ", pid));
  }
  RETURN_IF_ERROR(go_on_in_child());
  return inner;
}

}  // namespace stillpoint
