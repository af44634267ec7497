#include <sys/resource.h>

#include <iterator>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {
namespace {

// The index is the resource.
constexpr absl::string_view kLimitNames[] = {
    "Max cpu time",       "Max file size",     "Max data size",         "Max stack size",
    "Max core file size", "Max resident set",  "Max processes",         "Max open files",
    "Max locked memory",  "Max address space", "Max file locks",        "Max pending signals",
    "Max msgqueue size",  "Max nice priority", "Max realtime priority", "Max realtime timeout",
};
constexpr size_t kLimitCount = std::size(kLimitNames);
static_assert(RLIMIT_RTTIME == kLimitCount - 1);

bool take_limit(absl::string_view& line, uint64_t& limit) {
  const absl::string_view word = take_word(line);
  if (word == "unlimited") {
    limit = std::numeric_limits<uint64_t>::max();
    return true;
  }
  return whole_number(word, limit);
}

// The resource whose line this is, its name taken off; kLimitCount for the heading and for resources not known.
size_t take_resource(absl::string_view& line) {
  for (size_t resource = 0; resource < kLimitCount; ++resource) {
    const absl::string_view name = kLimitNames[resource];
    if (absl::StartsWith(line, name) && line.size() > name.size() && line[name.size()] == ' ') {
      line.remove_prefix(name.size());
      return resource;
    }
  }
  return kLimitCount;
}

}  // namespace

absl::StatusOr<std::vector<Limit>> parse_limits(absl::string_view text) {
  std::vector<Limit> limits(kLimitCount);
  std::vector<bool> seen(kLimitCount);
  Lines lines(text);
  absl::string_view line;
  while (lines.next(line)) {
    absl::string_view rest = line;
    const size_t resource = take_resource(rest);
    if (resource == kLimitCount) continue;
    if (!take_limit(rest, limits[resource].soft) || !take_limit(rest, limits[resource].hard)) {
      return malformed("limits", lines.number(), "soft and hard limit", line);
    }
    seen[resource] = true;
  }
  for (size_t resource = 0; resource < kLimitCount; ++resource) {
    if (!seen[resource]) return absl::InvalidArgumentError(absl::StrCat("limits has no line ", kLimitNames[resource]));
  }
  return limits;
}

absl::StatusOr<std::vector<Limit>> read_limits(pid_t pid) {
  const std::string path = process_path(pid, "limits");
  ASSIGN_OR_RETURN(const std::string text, read_text(path));
  absl::StatusOr<std::vector<Limit>> limits = parse_limits(text);
  if (!limits.ok()) return with_context(limits.status(), path);
  return limits;
}

}  // namespace stillpoint::procfs
