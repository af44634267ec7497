#include "helper/resources/file_locks.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/procfs/file_locks.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/detail.h"
#include "helper/resources/printable.h"

namespace stillpoint {
namespace {

using model::FileLock;

constexpr absl::string_view kLinePrefix = "lock:";
constexpr char kReleaseAround[] =
    "when the program can be changed: release it in a stillpoint::on_pre_dump hook and take it again in "
    "stillpoint::on_post_resume and stillpoint::on_post_restore; else checkpoint when it is released";

FileLock::Kind kind_of(procfs::FileLock::Type type) {
  switch (type) {
    case procfs::FileLock::Type::kFlock:
      return FileLock::FLOCK;
    case procfs::FileLock::Type::kPosix:
      return FileLock::POSIX;
    case procfs::FileLock::Type::kOpenFileDescription:
      return FileLock::OPEN_FILE_DESCRIPTION;
    case procfs::FileLock::Type::kOther:
      break;
  }
  return FileLock::UNKNOWN;
}

bool parse_line(absl::string_view line, procfs::FileLock& lock) {
  return procfs::parse_file_lock(absl::StripPrefix(line, kLinePrefix), lock);
}

// How the ledger tells locks apart: POSIX locks of one process do not overlap.
std::string ledger_entry(const procfs::FileLock& lock, pid_t pid) {
  return absl::StrCat(pid, " ", lock.file, " ", lock.write ? "w" : "r", lock.first, "-", lock.last);
}

Finding lock_finding(const OpenFileView& file, absl::string_view line) {
  if (absl::StrContains(line, "LEASE")) {
    return {"SP-LOCK-LEASE", describe(file),
            "it holds a lease (F_SETLEASE), which the kernel may have broken by the time of a restart", kReleaseAround};
  }
  return {"SP-LOCK", describe(file),
          absl::StrCat("it holds a lock of a kind this release does not know: ", printable(line)), kReleaseAround};
}

std::string process_name(pid_t pid, const std::string& proc) {
  const absl::StatusOr<std::string> text = procfs::read_text(absl::StrCat(proc, "/", pid, "/stat"));
  const absl::StatusOr<procfs::Stat> stat = text.ok() ? procfs::parse_stat(*text) : text.status();
  return stat.ok() ? absl::StrCat("pid ", pid, " (", printable(stat->comm), ")") : absl::StrCat("pid ", pid);
}

// The file as /proc/locks names it: its filesystem's own device number, which only mountinfo tells.
std::string name_in_locks(int fd) {
  struct stat stat = {};
  OpenFileView view;
  const absl::StatusOr<std::string> fdinfo = procfs::read_text(absl::StrCat("/proc/self/fdinfo/", fd));
  const absl::StatusOr<std::vector<procfs::Mount>> mounts = procfs::read_mountinfo(::getpid());
  if (!fdinfo.ok() || !mounts.ok() || ::fstat(fd, &stat) != 0) return "";
  view.fdinfo = *fdinfo;
  const absl::StatusOr<std::string> mount_id = fdinfo_value(view, "mnt_id");
  for (const procfs::Mount& mount : *mounts) {
    if (!mount_id.ok() || absl::StrCat(mount.id) != *mount_id) continue;
    return absl::StrFormat("%02x:%02x:%u", major(mount.device), minor(mount.device), stat.st_ino);
  }
  return "";
}

bool conflicts(const FileLock& wanted, const procfs::FileLock& held) {
  return !held.waiting && (kind_of(held.type) == FileLock::FLOCK) == (wanted.kind() == FileLock::FLOCK) &&
         (wanted.write() || held.write) && held.first <= wanted.last() && wanted.first() <= held.last;
}

// Whoever took the lock that stands in the way, and need not live any more.
std::string holder_of(const FileLock& wanted, int fd, const std::string& proc) {
  const std::string file = name_in_locks(fd);
  const absl::StatusOr<std::vector<procfs::FileLock>> locks = procfs::read_file_locks(proc);
  if (!locks.ok() || file.empty()) return "somebody else";
  for (const procfs::FileLock& held : *locks) {
    if (held.file == file && held.pid > 0 && conflicts(wanted, held)) return process_name(held.pid, proc);
  }
  return "somebody else";
}

absl::Status is_taken(const model::OpenFile& file, const FileLock& lock, int fd, const std::string& proc) {
  const absl::StatusOr<std::string> path = procfs::read_link(absl::StrCat("/proc/self/fd/", fd));
  return absl::FailedPreconditionError(
      absl::StrCat(describe(file), ": the program held ", describe(lock), ", and ", holder_of(lock, fd, proc),
                   " now holds one that conflicts with it on ", path.ok() ? printable(*path) : "the file",
                   "; end that process, or wait until it has released its lock, and restart again"));
}

absl::Status failed(const model::OpenFile& file, const FileLock& lock, int error) {
  return errno_status(error, absl::StrCat(describe(file), ": ", describe(lock), " cannot be taken again"));
}

absl::Status retake_flock(const model::OpenFile& file, const FileLock& lock, int fd, const std::string& proc) {
  int result;
  do {
    result = ::flock(fd, (lock.write() ? LOCK_EX : LOCK_SH) | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return absl::OkStatus();
  if (errno == EWOULDBLOCK) return is_taken(file, lock, fd, proc);
  return failed(file, lock, errno);
}

absl::Status try_range(const model::OpenFile& file, const FileLock& lock, int fd, const std::string& proc) {
  struct ::flock wanted = native_lock(lock);
  if (::fcntl(fd, F_GETLK, &wanted) != 0) return failed(file, lock, errno);
  if (wanted.l_type == F_UNLCK) return absl::OkStatus();
  return is_taken(file, lock, fd, proc);
}

absl::Status retake_range(const model::OpenFile& file, const FileLock& lock, int fd, const std::string& proc) {
  struct ::flock wanted = native_lock(lock);
  if (::fcntl(fd, F_OFD_SETLK, &wanted) == 0) return absl::OkStatus();
  if (errno != EAGAIN && errno != EACCES) return failed(file, lock, errno);
  return is_taken(file, lock, fd, proc);
}

}  // namespace

std::string describe(const FileLock& lock) {
  const std::string mode = lock.write() ? " for writing on " : " for reading on ";
  std::string range = absl::StrCat("bytes ", lock.first(), "-", lock.last());
  if (lock.last() == procfs::kEndOfFile) range = absl::StrCat("bytes ", lock.first(), " to the end");
  if (lock.first() == 0 && lock.last() == procfs::kEndOfFile) range = "the whole file";
  switch (lock.kind()) {
    case FileLock::FLOCK:
      return absl::StrCat("an flock(2) lock", mode, range);
    case FileLock::POSIX:
      return absl::StrCat("a POSIX lock", mode, range);
    default:
      return absl::StrCat("an open file description lock", mode, range);
  }
}

struct ::flock native_lock(const FileLock& lock) {
  struct ::flock native = {};
  native.l_type = lock.write() ? F_WRLCK : F_RDLCK;
  native.l_whence = SEEK_SET;
  native.l_start = static_cast<off_t>(lock.first());
  // The kernel counts a lock whose length is 0 to the end of whatever the file becomes.
  native.l_len = lock.last() == procfs::kEndOfFile ? 0 : static_cast<off_t>(lock.last() - lock.first() + 1);
  return native;
}

void audit_file_locks(const OpenFileView& file, Findings& findings) {
  for (const std::string& line : fdinfo_lines(file, kLinePrefix)) {
    procfs::FileLock lock;
    if (parse_line(line, lock) && kind_of(lock.type) != FileLock::UNKNOWN) continue;
    findings.add(lock_finding(file, line));
  }
}

void FileLockLedger::add(const OpenFileView& file, pid_t pid, bool of_description, std::vector<FileLock>& locks) {
  for (const std::string& line : fdinfo_lines(file, kLinePrefix)) {
    procfs::FileLock seen;
    if (!parse_line(line, seen)) continue;  // the audit says so
    const FileLock::Kind kind = kind_of(seen.type);
    const bool posix = kind == FileLock::POSIX;
    if (kind == FileLock::UNKNOWN || (posix ? !seen_.insert(ledger_entry(seen, pid)).second : !of_description))
      continue;
    FileLock& lock = locks.emplace_back();
    lock.set_kind(kind);
    lock.set_write(seen.write);
    lock.set_first(seen.first);
    lock.set_last(seen.last);
    if (posix) lock.set_pid(pid);
  }
}

void FileLockLedger::audit(const std::set<pid_t>& processes, Findings& findings) const {
  const absl::StatusOr<std::vector<procfs::FileLock>> locks = procfs::read_file_locks();
  if (!locks.ok()) return;  // fdinfo has the last word
  for (const procfs::FileLock& lock : *locks) {
    if (lock.type != procfs::FileLock::Type::kPosix || lock.waiting || !processes.contains(lock.pid)) continue;
    if (seen_.contains(ledger_entry(lock, lock.pid))) continue;
    findings.add({"SP-LOCK", absl::StrCat("inode ", lock.file),
                  absl::StrCat("pid ", lock.pid, " holds a POSIX lock on it that none of its fds shows"),
                  kReleaseAround});
  }
}

absl::Status retake_file_locks(const model::OpenFile& file, int fd, const std::string& proc) {
  for (const FileLock& lock : file.locks()) {
    switch (lock.kind()) {
      case FileLock::FLOCK:
        RETURN_IF_ERROR(retake_flock(file, lock, fd, proc));
        break;
      case FileLock::OPEN_FILE_DESCRIPTION:
        RETURN_IF_ERROR(retake_range(file, lock, fd, proc));
        break;
      case FileLock::POSIX:
        RETURN_IF_ERROR(try_range(file, lock, fd, proc));
        break;
      default:
        return damaged_detail(file, "a lock of a kind this release does not know");
    }
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
