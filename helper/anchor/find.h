// The SDK in a running program.
#ifndef STILLPOINT_HELPER_ANCHOR_FIND_H_
#define STILLPOINT_HELPER_ANCHOR_FIND_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"

namespace stillpoint {

struct FoundAnchor {
  uint64_t address = 0;
  uint64_t calls = 0;  // of checkpoint() and poll() so far
};

// The anchor of process `pid`, the busiest one when several copies of the SDK are loaded; nullopt: the program does
// not link the SDK. An error when its memory may not be read.
absl::StatusOr<std::optional<FoundAnchor>> find_anchor(pid_t pid);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_ANCHOR_FIND_H_
