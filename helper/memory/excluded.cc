#include "helper/memory/excluded.h"

#include <algorithm>

#include "helper/base/syscalls.h"

namespace stillpoint {

std::vector<Range> excluded_pages(std::vector<Range> excluded) {
  constexpr uint64_t kLastPage = page_floor(~uint64_t{0});
  for (Range& range : excluded) {
    // Rounding up would wrap around in the last page of the address space, where nothing is mapped.
    range = range.start > kLastPage ? Range{} : Range{page_ceil(range.start), page_floor(range.end)};
  }
  std::erase_if(excluded, [](const Range& range) { return range.start >= range.end; });
  std::sort(excluded.begin(), excluded.end(), [](const Range& a, const Range& b) { return a.start < b.start; });
  std::vector<Range> joined;
  for (const Range& range : excluded) {
    if (!joined.empty() && range.start <= joined.back().end) {
      joined.back().end = std::max(joined.back().end, range.end);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

std::vector<Range> subtract(const std::vector<Range>& ranges, const std::vector<Range>& excluded) {
  std::vector<Range> left;
  auto cut = excluded.begin();
  for (const Range& range : ranges) {
    uint64_t at = range.start;
    while (cut != excluded.end() && cut->end <= at) ++cut;
    for (auto next = cut; next != excluded.end() && next->start < range.end; ++next) {
      if (next->start > at) left.push_back({at, next->start});
      at = std::max(at, next->end);
    }
    if (at < range.end) left.push_back({at, range.end});
  }
  return left;
}

}  // namespace stillpoint
