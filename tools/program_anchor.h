// A running program that links the SDK, as a tool sees it: asked through its anchor (helper/protocol/anchor.h), every
// byte of which may be a lie.
#ifndef STILLPOINT_TOOLS_PROGRAM_ANCHOR_H_
#define STILLPOINT_TOOLS_PROGRAM_ANCHOR_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace stillpoint::tools {

// The anchor of process `pid`; nullopt: the program does not link the SDK. PERMISSION_DENIED, with the remedy, when its
// memory may not be read.
absl::StatusOr<std::optional<uint64_t>> anchor_of(pid_t pid);

struct AnchorRequest {
  std::string directory;  // absolute
  bool stop = false;
  absl::Duration wait = absl::Seconds(60);
  std::vector<pid_t> leave_out = {};
};

struct AnchorAnswer {
  std::string image;  // path
};

// Asks and waits for the answer. DEADLINE_EXCEEDED: the program made no call in time; the request is withdrawn.
// NOT_FOUND: the process ended before it answered.
absl::StatusOr<AnchorAnswer> request_through_anchor(pid_t pid, uint64_t anchor, const AnchorRequest& request);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_PROGRAM_ANCHOR_H_
