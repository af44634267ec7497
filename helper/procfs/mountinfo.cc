#include <sys/sysmacros.h>

#include <utility>

#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {
namespace {

constexpr absl::string_view kEscaped = " \t\n\\#";

// Fields are separated by exactly one blank: a source may be empty.
bool take_field(absl::string_view& line, absl::string_view& field) {
  if (line.empty()) return false;
  field = take_until(line, ' ');
  return true;
}

bool take_name(absl::string_view& line, std::string& name) {
  absl::string_view field;
  if (!take_field(line, field)) return false;
  name = unescape_octal(field, kEscaped);
  return true;
}

template <typename T>
bool take_number_field(absl::string_view& line, T& number) {
  absl::string_view field;
  return take_field(line, field) && whole_number(field, number);
}

bool take_device(absl::string_view& line, uint64_t& device) {
  absl::string_view field;
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  if (!take_field(line, field) || !take_number(field, device_major) || !take(field, ':') ||
      !whole_number(field, device_minor)) {
    return false;
  }
  device = makedev(device_major, device_minor);
  return true;
}

// Passes over any number of optional fields ("shared:1") and the "-" that ends them.
bool take_optional_fields(absl::string_view& line) {
  absl::string_view field;
  while (take_field(line, field)) {
    if (field == "-") return true;
  }
  return false;
}

// What the line lacks, or nullptr.
const char* parse_line(absl::string_view line, Mount& mount) {
  if (!take_number_field(line, mount.id) || !take_number_field(line, mount.parent_id)) return "mount ids";
  if (!take_device(line, mount.device)) return "device";
  if (!take_name(line, mount.root) || !take_name(line, mount.mount_point)) return "root and mount point";
  absl::string_view options;
  if (!take_field(line, options)) return "mount options";
  if (!take_optional_fields(line)) return "separator \" - \"";
  if (!take_name(line, mount.filesystem) || !take_name(line, mount.source)) return "filesystem and source";
  return nullptr;
}

}  // namespace

absl::StatusOr<std::vector<Mount>> parse_mountinfo(absl::string_view text) {
  std::vector<Mount> mounts;
  Lines lines(text);
  absl::string_view line;
  while (lines.next(line)) {
    Mount mount;
    if (const char* missing = parse_line(line, mount); missing != nullptr) {
      return malformed("mountinfo", lines.number(), missing, line);
    }
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

absl::StatusOr<std::vector<Mount>> read_mountinfo(pid_t pid) {
  const std::string path = process_path(pid, "mountinfo");
  ASSIGN_OR_RETURN(const std::string text, read_text(path));
  absl::StatusOr<std::vector<Mount>> mounts = parse_mountinfo(text);
  if (!mounts.ok()) return with_context(mounts.status(), path);
  return mounts;
}

}  // namespace stillpoint::procfs
