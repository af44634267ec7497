// Page-aligned ranges of addresses.
#ifndef STILLPOINT_HELPER_MEMORY_RANGE_H_
#define STILLPOINT_HELPER_MEMORY_RANGE_H_

#include <cstdint>
#include <vector>

namespace stillpoint {

// [start, end)
struct Range {
  uint64_t start = 0;
  uint64_t end = 0;

  uint64_t size() const { return end - start; }
  bool operator==(const Range&) const = default;
};

// Appends `range` to ascending `ranges`, joining it with the last one where they touch.
inline void append_range(std::vector<Range>& ranges, Range range) {
  if (range.start >= range.end) return;
  if (!ranges.empty() && ranges.back().end == range.start) {
    ranges.back().end = range.end;
  } else {
    ranges.push_back(range);
  }
}

inline uint64_t total_size(const std::vector<Range>& ranges) {
  uint64_t sum = 0;
  for (const Range& range : ranges) sum += range.size();
  return sum;
}

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_RANGE_H_
