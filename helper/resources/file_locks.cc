#include "helper/resources/file_locks.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "helper/resources/printable.h"

namespace stillpoint {
namespace {

// "lock:\t1: POSIX  ADVISORY  WRITE 7227 fe:00:10952852 5 14"
struct LockLine {
  absl::string_view type, mode, holder, first, last;
};

bool parse_lock_line(absl::string_view line, LockLine& lock) {
  const std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (words.size() != 9) return false;
  lock = {words[2], words[4], words[5], words[7], words[8]};
  return true;
}

struct LockKind {
  absl::string_view type;  // as /proc names it
  absl::string_view code;
  absl::string_view name;
};

constexpr LockKind kLockKinds[] = {
    {"FLOCK", "SP-LOCK-FLOCK", "an flock(2) lock"},
    {"POSIX", "SP-LOCK-POSIX", "a POSIX record lock"},
    {"OFDLCK", "SP-LOCK-OFD", "an open file description lock"},
    {"LEASE", "SP-LOCK-LEASE", "a lease (F_SETLEASE)"},
};

std::string range(const LockLine& lock) {
  if (lock.first == "0" && lock.last == "EOF") return "the whole file";
  if (lock.last == "EOF") return absl::StrCat("bytes ", lock.first, " to the end");
  return absl::StrCat("bytes ", lock.first, "-", lock.last);
}

Finding unreadable_lock(const OpenFileView& file, absl::string_view line) {
  return {"SP-LOCK", describe(file),
          absl::StrCat("it holds a lock of a kind this release does not know: ", printable(line)),
          "release the lock in a stillpoint::on_pre_dump hook and take it again in stillpoint::on_post_resume and "
          "stillpoint::on_post_restore"};
}

Finding lock_finding(const OpenFileView& file, absl::string_view line) {
  LockLine lock;
  if (!parse_lock_line(line, lock)) return unreadable_lock(file, line);
  for (const LockKind& kind : kLockKinds) {
    if (kind.type != lock.type) continue;
    return {std::string(kind.code), describe(file),
            printable(absl::StrCat("it holds ", kind.name, " (", lock.mode, ", ", range(lock), ", taken by pid ",
                                   lock.holder, ") that somebody else may take once the process is gone")),
            "release it in a stillpoint::on_pre_dump hook and take it again in stillpoint::on_post_resume and "
            "stillpoint::on_post_restore, where somebody else may have it by then"};
  }
  return unreadable_lock(file, line);
}

}  // namespace

void audit_file_locks(const OpenFileView& file, Findings& findings) {
  for (const std::string& line : fdinfo_lines(file, "lock:")) findings.add(lock_finding(file, line));
}

}  // namespace stillpoint
