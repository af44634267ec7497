// What the CPU offers to user programs.
#ifndef STILLPOINT_HELPER_MODEL_CPU_H_
#define STILLPOINT_HELPER_MODEL_CPU_H_

#include <cstdint>
#include <set>
#include <string>

namespace stillpoint::model {

// The instruction-set extensions among /proc/cpuinfo's flags that a compiled program or its C library may choose code
// by.
std::set<std::string> cpu_features();

// XCR0: the register state components the kernel has enabled; 0 without XSAVE.
uint64_t xsave_features();

}  // namespace stillpoint::model

#endif  // STILLPOINT_HELPER_MODEL_CPU_H_
