#include "helper/procfs/file_locks.h"

#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {
namespace {

FileLock::Type type_of(absl::string_view word) {
  if (word == "FLOCK") return FileLock::Type::kFlock;
  if (word == "POSIX") return FileLock::Type::kPosix;
  if (word == "OFDLCK") return FileLock::Type::kOpenFileDescription;
  return FileLock::Type::kOther;
}

bool parse_range(absl::string_view first, absl::string_view last, FileLock& lock) {
  if (!whole_number(first, lock.first)) return false;
  if (last == "EOF") {
    lock.last = kEndOfFile;
  } else if (!whole_number(last, lock.last)) {
    return false;
  }
  return lock.first <= lock.last && lock.last <= kEndOfFile;
}

}  // namespace

// "1: POSIX  ADVISORY  WRITE 7227 fe:00:10952852 5 14"; "1: -> FLOCK ..." of one who waits.
bool parse_file_lock(absl::string_view line, FileLock& lock) {
  absl::string_view id = take_word(line);
  uint64_t number = 0;
  if (!absl::ConsumeSuffix(&id, ":") || !whole_number(id, number)) return false;
  absl::string_view type = take_word(line);
  lock.waiting = type == "->";
  if (lock.waiting) type = take_word(line);
  lock.type = type_of(type);
  const absl::string_view kind = take_word(line);  // ADVISORY; a lease's state
  const absl::string_view mode = take_word(line);
  if (kind.empty() || (mode != "READ" && mode != "WRITE" && mode != "UNLCK")) return false;
  // Those of Windows clients (LOCK_MAND), and mandatory ones of kernels before 5.15, are none of ours.
  if (kind != "ADVISORY" || mode == "UNLCK") lock.type = FileLock::Type::kOther;
  lock.write = mode == "WRITE";
  if (!whole_number(take_word(line), lock.pid)) return false;
  lock.file = std::string(take_word(line));
  const absl::string_view first = take_word(line), last = take_word(line);
  return !lock.file.empty() && parse_range(first, last, lock) && trim_blanks(line).empty();
}

absl::StatusOr<std::vector<FileLock>> parse_file_locks(absl::string_view text) {
  std::vector<FileLock> locks;
  Lines lines(text);
  absl::string_view line;
  while (lines.next(line)) {
    FileLock lock;
    if (!parse_file_lock(line, lock)) return malformed("/proc/locks", lines.number(), "file lock", line);
    locks.push_back(std::move(lock));
  }
  return locks;
}

absl::StatusOr<std::vector<FileLock>> read_file_locks(const std::string& proc) {
  ASSIGN_OR_RETURN(const std::string text, read_text(proc + "/locks"));
  return parse_file_locks(text);
}

}  // namespace stillpoint::procfs
