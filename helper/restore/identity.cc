#include "helper/restore/identity.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/model/births.h"
#include "helper/procfs/process_files.h"
#include "helper/restore/task.h"

namespace stillpoint {
namespace {

constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;

absl::Status write_proc_file(const char* path, const std::string& text) {
  const UniqueFd fd(::open(path, O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("open ", path));
  return write_all(fd.get(), text, path);
}

absl::Status map_own_ids(uid_t uid, gid_t gid) {
  RETURN_IF_ERROR(write_proc_file("/proc/self/setgroups", "deny"));
  RETURN_IF_ERROR(write_proc_file("/proc/self/uid_map", absl::StrCat(uid, " ", uid, " 1")));
  return write_proc_file("/proc/self/gid_map", absl::StrCat(gid, " ", gid, " 1"));
}

absl::StatusOr<int64_t> now_ns(clockid_t clock) {
  timespec now{};
  if (::clock_gettime(clock, &now) != 0) return errno_status(errno, "clock_gettime");
  return now.tv_sec * kNanosecondsPerSecond + now.tv_nsec;
}

// The offsets the new time namespace began with: those of the old one.
absl::StatusOr<std::pair<int64_t, int64_t>> current_offsets() {
  ASSIGN_OR_RETURN(const std::string text, procfs::read_text("/proc/self/timens_offsets"));
  std::pair<int64_t, int64_t> offsets;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    int64_t seconds = 0, nanoseconds = 0;
    if (words.size() != 3 || !absl::SimpleAtoi(words[1], &seconds) || !absl::SimpleAtoi(words[2], &nanoseconds)) {
      return absl::DataLossError(absl::StrCat("/proc/self/timens_offsets is malformed: ", line));
    }
    const int64_t value = seconds * kNanosecondsPerSecond + nanoseconds;
    (words[0] == "monotonic" ? offsets.first : offsets.second) = value;
  }
  return offsets;
}

std::string offset_line(absl::string_view clock, int64_t ns) {
  int64_t seconds = ns / kNanosecondsPerSecond, rest = ns % kNanosecondsPerSecond;
  if (rest < 0) {
    rest += kNanosecondsPerSecond;
    --seconds;
  }
  return absl::StrCat(clock, " ", seconds, " ", rest, "\n");
}

absl::Status set_clock_offsets(const model::Clocks& clocks) {
  if (feature_disabled("time_ns")) return absl::UnimplementedError("time namespaces are switched off");
  if (::unshare(CLONE_NEWTIME) != 0) return errno_status(errno, "unshare(CLONE_NEWTIME)");
  ASSIGN_OR_RETURN(const auto offsets, current_offsets());
  ASSIGN_OR_RETURN(const int64_t monotonic, now_ns(CLOCK_MONOTONIC));
  ASSIGN_OR_RETURN(const int64_t boottime, now_ns(CLOCK_BOOTTIME));
  const std::string text = offset_line("monotonic", offsets.first + clocks.monotonic_ns() - monotonic) +
                           offset_line("boottime", offsets.second + clocks.boottime_ns() - boottime);
  return write_proc_file("/proc/self/timens_offsets", text);
}

absl::Status check_free(pid_t pid) {
  if (::kill(pid, 0) == 0 || errno != ESRCH || ::kill(-pid, 0) == 0 || errno != ESRCH) {
    return absl::AlreadyExistsError(absl::StrCat("pid ", pid, " is in use here"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status pids_available(const model::Tree& tree) {
  if (feature_disabled("clone3_set_tid")) return absl::PermissionDeniedError("clone3 with set_tid is switched off");
  ASSIGN_OR_RETURN(const model::BirthPlan births, model::plan_births(tree));
  for (const model::Birth& birth : births.births) RETURN_IF_ERROR(check_free(birth.pid));
  for (const model::Process& process : tree.processes()) {
    for (const model::Thread& thread : process.threads()) RETURN_IF_ERROR(check_free(thread.tid()));
  }
  // Whether set_tid is permitted is best asked of the kernel: a task that ends at once.
  const pid_t wanted = tree.processes(0).pid();
  ASSIGN_OR_RETURN(const pid_t pid, clone_task(wanted, SIGCHLD, 0, [] { ::_exit(0); }));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return errno_status(errno, absl::StrCat("waitpid of the probe ", pid));
  }
  return absl::OkStatus();
}

absl::StatusOr<NamespaceChoice> unshare_identity(bool segments) {
  NamespaceChoice choice;
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (::unshare(CLONE_NEWPID) == 0) return choice;
  if (errno != EPERM) return errno_status(errno, "unshare(CLONE_NEWPID)");
  if (feature_disabled("userns") || ::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the process's pids cannot be had here: this user may neither choose pids (cap_checkpoint_restore on "
        "stillpoint-helper) nor make a user namespace (",
        feature_disabled("userns") ? "switched off" : errno_name(errno), "); `stillpoint check` tells more"));
  }
  choice.user = true;
  RETURN_IF_ERROR(map_own_ids(uid, gid));
  if (segments && ::unshare(CLONE_NEWIPC) != 0) return errno_status(errno, "unshare(CLONE_NEWIPC)");
  return choice;
}

absl::Status enter_as_init(std::vector<std::string>& notes) {
  // Here and not before: the restorer outside must keep the /proc it has.
  if (::unshare(CLONE_NEWNS) != 0) return errno_status(errno, "unshare(CLONE_NEWNS)");
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return errno_status(errno, "mount(MS_PRIVATE) of / in the new mount namespace");
  }
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    notes.push_back(
        absl::StrCat("/proc shows the pids outside the namespace: mounting it was refused (", errno_name(errno), ")"));
  }
  return absl::OkStatus();
}

void continue_clocks(const model::Clocks& clocks, std::vector<std::string>& notes) {
  const absl::Status status = set_clock_offsets(clocks);
  if (status.ok()) return;
  notes.push_back(absl::StrCat("CLOCK_MONOTONIC and CLOCK_BOOTTIME jump to this machine's (", status.message(), ")"));
}

}  // namespace stillpoint
