// Reading a pending signal's struct siginfo (Linux: include/uapi/asm-generic/siginfo.h).
#ifndef STILLPOINT_HELPER_MODEL_PENDING_SIGNAL_H_
#define STILLPOINT_HELPER_MODEL_PENDING_SIGNAL_H_

#include <cstdint>
#include <optional>
#include <string>

#include "helper/model/model.pb.h"

namespace stillpoint::model {

int signal_number(const PendingSignal& pending);  // 0: the siginfo is cut short
// The POSIX timer that sent it; none for any other signal.
std::optional<int> timer_of(const PendingSignal& pending);
// What a signal of a POSIX timer carries for the kernel's own use is cleared, as it is when the signal is taken.
void clear_private_part(std::string& siginfo);

// The numbers of all of them, bit N-1 for signal N. Of a Process or Thread.
template <typename T>
uint64_t pending_set(const T& of) {
  uint64_t set = 0;
  for (const PendingSignal& pending : of.pending_signals()) {
    const int number = signal_number(pending);
    if (number >= 1 && number <= 64) set |= uint64_t{1} << (number - 1);
  }
  return set;
}

}  // namespace stillpoint::model

#endif  // STILLPOINT_HELPER_MODEL_PENDING_SIGNAL_H_
