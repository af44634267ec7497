#include "helper/dump/resident_pages.h"

#include <sys/syscall.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_split.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

// A page that is swapped out is not resident, and there all the same.
bool may_be_swapped() {
  const absl::StatusOr<std::string> swaps = procfs::read_text("/proc/swaps");
  if (!swaps.ok()) return true;
  const std::vector<std::string> lines = absl::StrSplit(*swaps, '\n', absl::SkipEmpty());
  return lines.size() > 1;  // the first is the heading
}

}  // namespace

absl::StatusOr<std::vector<Range>> resident_pages(ApplicationCalls& calls, Range range, bool hugetlb) {
  std::array<unsigned char, 1024> resident;
  if (hugetlb || may_be_swapped()) return std::vector<Range>{range};
  std::vector<Range> pages;
  for (uint64_t at = range.start; at < range.end;) {
    const size_t count = std::min<uint64_t>(resident.size(), (range.end - at) / kPageSize);
    ASSIGN_OR_RETURN(const int64_t result, calls.call(SYS_mincore, {at, count * kPageSize, calls.scratch()}));
    if (result < 0) return std::vector<Range>{range};
    RETURN_IF_ERROR(read_memory(calls.tid(), calls.scratch(), resident.data(), count));
    for (size_t i = 0; i < count; ++i, at += kPageSize) {
      if ((resident[i] & 1) != 0) append_range(pages, {at, at + kPageSize});
    }
  }
  return pages;
}

}  // namespace stillpoint
