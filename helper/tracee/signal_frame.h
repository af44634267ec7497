// A signal frame as the kernel's rt_sigreturn(2) reads it (Linux: arch/x86/kernel/signal_64.c, fpu/signal.c).
#ifndef STILLPOINT_HELPER_TRACEE_SIGNAL_FRAME_H_
#define STILLPOINT_HELPER_TRACEE_SIGNAL_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/tracee/thread.h"

namespace stillpoint {

inline constexpr size_t kSignalFrameSize = 440;
inline constexpr size_t kSignalFrameRdi = 112;  // where a frame keeps that register

// The context a frame restores. The alternate signal stack is left alone; system call restarts do not take place.
struct SignalFrameContext {
  GeneralRegisters registers;
  uint64_t signal_mask = 0;
  uint64_t return_address = 0;          // of an rt_sigreturn stub
  uint64_t extended_state_address = 0;  // 64-byte aligned; 0: the initial state
};

// kSignalFrameSize bytes, to lie at an address that is 8 modulo 16.
std::string make_signal_frame(const SignalFrameContext& context);

// The XSAVE area that belongs to a frame, from a thread's NT_X86_XSTATE: cut behind the last component in use (the
// kernel takes no area larger than the thread's own, which may lack components of the register set), with the marks
// that tell the kernel it is one.
absl::StatusOr<std::string> make_frame_extended_state(absl::string_view xstate);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_TRACEE_SIGNAL_FRAME_H_
