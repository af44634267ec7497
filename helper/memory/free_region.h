// Room in an address space.
#ifndef STILLPOINT_HELPER_MEMORY_FREE_REGION_H_
#define STILLPOINT_HELPER_MEMORY_FREE_REGION_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "helper/memory/range.h"

namespace stillpoint {

// The start of `size` bytes that none of the `taken` ranges (any order, may overlap) touches; a multiple of
// `alignment`, a power of two. Taken from high addresses, below stack and libraries, where programs rarely map at fixed
// addresses. RESOURCE_EXHAUSTED when there is no such hole.
absl::StatusOr<uint64_t> find_free_region(std::vector<Range> taken, uint64_t size, uint64_t alignment = 4096);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_FREE_REGION_H_
