#include "helper/memory/free_region.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace stillpoint {
namespace {

constexpr uint64_t kLowest = uint64_t{1} << 32;     // leaves the low addresses to MAP_32BIT and fixed mappings
constexpr uint64_t kHighest = 0x7fff00000000;       // leaves room under the stack to grow
constexpr uint64_t kDistance = uint64_t{16} << 20;  // to neighbours: stacks grow down, heaps grow up

}  // namespace

absl::StatusOr<uint64_t> find_free_region(std::vector<Range> taken, uint64_t size, uint64_t alignment) {
  // From the highest end down: what lies above the current ceiling is behind us, however the ranges overlap.
  std::sort(taken.begin(), taken.end(), [](const Range& a, const Range& b) { return a.end > b.end; });
  uint64_t ceiling = kHighest;
  taken.push_back({0, kLowest});
  for (const Range& range : taken) {
    if (range.start >= kHighest) continue;  // [vsyscall] among them
    const uint64_t floor = range.end + kDistance;
    if (ceiling > floor && ceiling - floor >= size + alignment) return (ceiling - size) & ~(alignment - 1);
    ceiling = std::min(ceiling, range.start > kDistance ? range.start - kDistance : 0);
  }
  return absl::ResourceExhaustedError(absl::StrCat("no ", size, " bytes of address space are free"));
}

}  // namespace stillpoint
