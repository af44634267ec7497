#include "absl/strings/str_split.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {

absl::StatusOr<std::vector<CgroupLine>> parse_cgroups(absl::string_view text) {
  std::vector<CgroupLine> all;
  Lines lines(text);
  absl::string_view line;
  while (lines.next(line)) {
    absl::string_view rest = line;
    CgroupLine entry;
    if (!take_number(rest, entry.hierarchy) || !take(rest, ':')) {
      return malformed("cgroup", lines.number(), "number of a hierarchy", line);
    }
    if (rest.find(':') == absl::string_view::npos) return malformed("cgroup", lines.number(), "controllers", line);
    entry.controllers = absl::StrSplit(take_until(rest, ':'), ',', absl::SkipEmpty());
    if (rest.empty() || rest.front() != '/') return malformed("cgroup", lines.number(), "path", line);
    entry.path = std::string(rest);
    all.push_back(std::move(entry));
  }
  return all;
}

absl::StatusOr<std::vector<CgroupLine>> read_cgroups(pid_t pid) {
  const std::string path = process_path(pid, "cgroup");
  ASSIGN_OR_RETURN(const std::string text, read_text(path));
  absl::StatusOr<std::vector<CgroupLine>> cgroups = parse_cgroups(text);
  return cgroups.ok() ? cgroups : with_context(cgroups.status(), path);
}

std::optional<uint64_t> find_field(absl::string_view text, absl::string_view key) {
  Lines lines(text);
  absl::string_view line;
  while (lines.next(line)) {
    uint64_t value = 0;
    if (take_word(line) == key && whole_number(take_word(line), value)) return value;
  }
  return std::nullopt;
}

}  // namespace stillpoint::procfs
