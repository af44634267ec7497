// Memory that the program declared as not worth saving.
#ifndef STILLPOINT_SDK_EXCLUDED_MEMORY_H_
#define STILLPOINT_SDK_EXCLUDED_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stillpoint::sdk {

struct MemoryRange {
  uint64_t start = 0;
  uint64_t length = 0;
};

void exclude(MemoryRange range);
// False when this very range is not excluded.
bool include(MemoryRange range);
// All ranges, merged, ascending.
std::vector<MemoryRange> excluded_ranges();

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_EXCLUDED_MEMORY_H_
