#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/check/probes.h"

namespace stillpoint::check {
namespace {

constexpr pid_t kWantedPid = 4242;  // in a pid namespace that is empty but for its init
constexpr int kFreePidAttempts = 20;
constexpr int64_t kClockOffset = 1000000;  // seconds

absl::Status write_proc_file(const char* path, const std::string& text) {
  const UniqueFd fd(::open(path, O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("open ", path));
  return write_all(fd.get(), text, path);
}

bool reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// A task with this pid that ends at once. OK when the kernel gave it.
absl::Status create_with_pid(pid_t wanted) {
  clone_args arguments = {};
  arguments.exit_signal = SIGCHLD;
  arguments.set_tid = reinterpret_cast<uint64_t>(&wanted);
  arguments.set_tid_size = 1;
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof(arguments));
  if (pid == 0) ::syscall(SYS_exit_group, 0);
  if (pid < 0) return errno_status(errno, "clone3 with set_tid");
  reap(static_cast<pid_t>(pid));
  if (pid != wanted) return absl::InternalError(absl::StrCat("clone3 with set_tid gave ", pid, " for ", wanted));
  return absl::OkStatus();
}

// Takes the pid of a child that has just gone. Another process may be faster.
absl::Status recreate_free_pid() {
  absl::Status status;
  for (int attempt = 0; attempt < kFreePidAttempts; ++attempt) {
    const pid_t pid = ::fork();
    if (pid < 0) return errno_status(errno, "fork");
    if (pid == 0) ::_exit(0);
    reap(pid);
    status = create_with_pid(pid);
    if (!absl::IsAlreadyExists(status)) return status;
  }
  return status;
}

// uid and gid stay what they are.
absl::Status enter_user_namespace(int more_namespaces) {
  if (feature_disabled("userns")) return absl::UnavailableError("switched off by STILLPOINT_DISABLE");
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (::unshare(CLONE_NEWUSER | more_namespaces) != 0) return errno_status(errno, "unshare(CLONE_NEWUSER)");
  RETURN_IF_ERROR(write_proc_file("/proc/self/setgroups", "deny"));
  RETURN_IF_ERROR(write_proc_file("/proc/self/uid_map", absl::StrCat(uid, " ", uid, " 1")));
  return write_proc_file("/proc/self/gid_map", absl::StrCat(gid, " ", gid, " 1"));
}

absl::Status enter_pid_namespace() {
  if (feature_disabled("pid_ns")) return absl::UnavailableError("switched off by STILLPOINT_DISABLE");
  if (::unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) return errno_status(errno, "unshare(CLONE_NEWPID | CLONE_NEWNS)");
  return absl::OkStatus();
}

// The first child is the new namespace's init. It ends before its descendants matter to anybody.
Probe as_init(const std::function<absl::Status()>& body) {
  return in_child([&] {
    if (::getpid() != 1) return no(absl::StrCat("the first task of the pid namespace has pid ", ::getpid()));
    return from_status(body());
  });
}

absl::Status mount_proc() {
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return errno_status(errno, "mount(MS_PRIVATE) of /");
  }
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    return errno_status(errno, "mount of proc on /proc");
  }
  return absl::OkStatus();
}

int64_t monotonic_seconds() {
  timespec now = {};
  return ::clock_gettime(CLOCK_MONOTONIC, &now) == 0 ? now.tv_sec : 0;
}

// The namespace's clock is seen by children only.
Probe shift_clock() {
  const int64_t before = monotonic_seconds();
  const std::string offsets = absl::StrCat("monotonic ", kClockOffset, " 0\nboottime ", kClockOffset, " 0\n");
  if (const absl::Status status = write_proc_file("/proc/self/timens_offsets", offsets); !status.ok()) {
    return from_status(status);
  }
  return in_child([before] {
    return monotonic_seconds() >= before + kClockOffset ? yes() : no("CLOCK_MONOTONIC did not follow its offset");
  });
}

}  // namespace

Probe probe_set_tid() {
  return in_child([] { return from_status(recreate_free_pid()); });
}

Probe probe_pid_namespace() {
  return in_child([] {
    if (const absl::Status status = enter_pid_namespace(); !status.ok()) return from_status(status);
    return as_init([] { return create_with_pid(kWantedPid); });
  });
}

Probe probe_user_namespace() {
  return in_child([] {
    const absl::Status status = enter_user_namespace(CLONE_NEWPID | CLONE_NEWNS);
    if (!status.ok()) return from_status(status);
    return as_init([] { return create_with_pid(kWantedPid); });
  });
}

Probe probe_own_proc() {
  return in_child([] {
    if (!enter_pid_namespace().ok()) {
      const absl::Status status = enter_user_namespace(CLONE_NEWPID | CLONE_NEWNS);
      if (!status.ok()) return from_status(status);
    }
    return as_init(&mount_proc);
  });
}

Probe probe_time_namespace() {
  return in_child([] {
    if (::unshare(CLONE_NEWTIME) == 0) return shift_clock();
    const std::string refused = absl::StrCat("unshare(CLONE_NEWTIME): ", errno_name(errno));
    const absl::Status status = enter_user_namespace(CLONE_NEWTIME);
    if (!status.ok()) return no(absl::StrCat(refused, "; ", status.message()));
    Probe probe = shift_clock();
    if (probe.available) probe.detail = "inside a user namespace";
    return probe;
  });
}

}  // namespace stillpoint::check
