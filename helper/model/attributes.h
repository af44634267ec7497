// Numbers of prctl(2) and arch_prctl(2) that old headers lack. Linux: include/uapi/linux/prctl.h,
// arch/x86/include/uapi/asm/prctl.h.
#ifndef STILLPOINT_HELPER_MODEL_ATTRIBUTES_H_
#define STILLPOINT_HELPER_MODEL_ATTRIBUTES_H_

#include <cstdint>

namespace stillpoint {

inline constexpr int kPrGetTsc = 25, kPrSetTsc = 26, kTscEnabled = 1, kTscFaults = 2;
inline constexpr int kPrMceKill = 33, kPrMceKillGet = 34, kMceKillSet = 1;
inline constexpr int kMceKillLate = 0, kMceKillEarly = 1, kMceKillDefault = 2;
inline constexpr int kPrGetSpeculation = 52, kPrSetSpeculation = 53;
inline constexpr uint32_t kSpeculationKinds = 3;  // store bypass, indirect branch, L1D flush
inline constexpr uint32_t kSpeculationByThread = 1;
inline constexpr uint32_t kSpeculationDisable = 4, kSpeculationForceDisable = 8, kSpeculationDisableNoExec = 16;
inline constexpr uint32_t kSpeculationRestricted =
    kSpeculationDisable | kSpeculationForceDisable | kSpeculationDisableNoExec;
inline constexpr int kPrSetIoFlusher = 57, kPrGetIoFlusher = 58;
inline constexpr int kPrSetMdwe = 65, kPrGetMdwe = 66;
inline constexpr int kPrSetMemoryMerge = 67, kPrGetMemoryMerge = 68;
inline constexpr int kArchGetCpuid = 0x1011, kArchSetCpuid = 0x1012;
inline constexpr int kArchGetXcompPermitted = 0x1022, kArchRequestXcomp = 0x1023;
// Components of the extended state that a process must ask for (AMX's tiles, ...).
inline constexpr uint64_t kXstateOnRequest = ~uint64_t{0} << 17;

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MODEL_ATTRIBUTES_H_
