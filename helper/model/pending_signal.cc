#include "helper/model/pending_signal.h"

#include <signal.h>

#include <cstddef>
#include <cstring>

namespace stillpoint::model {
namespace {

// Offsets in struct siginfo; the union begins at 16.
constexpr size_t kNumber = 0, kCode = 8, kTimerId = 16, kTimerPrivate = 32;

int field(const std::string& siginfo, size_t offset) {
  int value = 0;
  if (siginfo.size() >= offset + sizeof value) std::memcpy(&value, siginfo.data() + offset, sizeof value);
  return value;
}

}  // namespace

int signal_number(const PendingSignal& pending) { return field(pending.siginfo(), kNumber); }

std::optional<int> timer_of(const PendingSignal& pending) {
  if (field(pending.siginfo(), kCode) != SI_TIMER) return std::nullopt;
  return field(pending.siginfo(), kTimerId);
}

void clear_private_part(std::string& siginfo) {
  const int none = 0;
  if (field(siginfo, kCode) != SI_TIMER || siginfo.size() < kTimerPrivate + sizeof none) return;
  std::memcpy(siginfo.data() + kTimerPrivate, &none, sizeof none);
}

}  // namespace stillpoint::model
