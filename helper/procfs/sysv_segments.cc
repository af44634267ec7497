#include "helper/procfs/sysv_segments.h"

#include <string>

#include "absl/strings/match.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {
namespace {

constexpr uint32_t kPermissions = 0777;
constexpr uint32_t kRemoved = 01000;  // SHM_DEST
constexpr uint32_t kLocked = 02000;   // SHM_LOCKED

// A word that is one number. The columns behind those read here (times, pages) are nobody's concern.
template <typename T>
bool next_number(absl::string_view& line, T& out, int base = 10) {
  return whole_number(take_word(line), out, base);
}

bool parse_segment(absl::string_view line, SysvSegment& segment) {
  uint32_t flags = 0;
  if (!next_number(line, segment.key) || !next_number(line, segment.id) || !next_number(line, flags, 8) ||
      !next_number(line, segment.size) || !next_number(line, segment.creator) || !next_number(line, segment.last_pid) ||
      !next_number(line, segment.attachments) || !next_number(line, segment.uid) || !next_number(line, segment.gid) ||
      !next_number(line, segment.creator_uid) || !next_number(line, segment.creator_gid)) {
    return false;
  }
  segment.mode = flags & kPermissions;
  segment.removed = (flags & kRemoved) != 0;
  segment.locked = (flags & kLocked) != 0;
  return segment.id >= 0;
}

}  // namespace

absl::StatusOr<std::vector<SysvSegment>> parse_sysv_segments(absl::string_view text) {
  std::vector<SysvSegment> segments;
  Lines lines(text);
  absl::string_view line;
  while (lines.next(line)) {
    if (lines.number() == 1 && absl::StartsWith(trim_blanks(line), "key")) continue;
    SysvSegment segment;
    if (!parse_segment(line, segment)) {
      return malformed("/proc/sysvipc/shm", lines.number(), "System V segment", line);
    }
    segments.push_back(segment);
  }
  return segments;
}

absl::StatusOr<std::vector<SysvSegment>> read_sysv_segments() {
  absl::StatusOr<std::string> text = read_text("/proc/sysvipc/shm");
  if (absl::IsNotFound(text.status())) return std::vector<SysvSegment>();
  RETURN_IF_ERROR(text.status());
  return parse_sysv_segments(*text);
}

}  // namespace stillpoint::procfs
