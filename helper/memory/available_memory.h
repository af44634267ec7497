// How much more memory the helper may take without harming anybody.
#ifndef STILLPOINT_HELPER_MEMORY_AVAILABLE_MEMORY_H_
#define STILLPOINT_HELPER_MEMORY_AVAILABLE_MEMORY_H_

#include <cstdint>
#include <string>

namespace stillpoint {

inline constexpr uint64_t kNoLimit = ~uint64_t{0};

// The least of what the machine has (MemAvailable) and what this process's memory cgroup and those above it leave.
// kNoLimit where nothing can be read.
uint64_t available_memory();

// What the limits of the cgroup in `directory` leave, page cache that can be dropped counted as free; kNoLimit without
// one. Files of either version of cgroups.
uint64_t cgroup_room(const std::string& directory);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_AVAILABLE_MEMORY_H_
