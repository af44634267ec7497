// A running program that links the SDK, as a tool sees it: its anchor (helper/protocol/anchor.h), found and used
// through the program's memory, every byte of which may be a lie.
#ifndef STILLPOINT_TOOLS_PROGRAM_ANCHOR_H_
#define STILLPOINT_TOOLS_PROGRAM_ANCHOR_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "helper/procfs/process_files.h"
#include "helper/protocol/anchor.h"

namespace stillpoint::tools {

// How the scanner reads the program: all `size` bytes at `address`, or an error. Tests put their own in.
using MemoryReader = std::function<absl::Status(uint64_t address, void* buffer, size_t size)>;

// Addresses of all anchors of the program whose mappings these are. Never fails: what cannot be read or makes no
// sense is no anchor.
std::vector<uint64_t> scan_for_anchors(const std::vector<procfs::Mapping>& maps, const MemoryReader& read);

// The anchor of process `pid`, the busiest one when several copies of the SDK are loaded; nullopt: the program does
// not link the SDK. PERMISSION_DENIED when its memory may not be read.
absl::StatusOr<std::optional<uint64_t>> find_anchor(pid_t pid);

struct AnchorRequest {
  std::string directory;  // absolute
  bool stop = false;
  absl::Duration wait = absl::Seconds(60);
};

struct AnchorAnswer {
  std::string image;  // path
};

// Asks and waits for the answer. DEADLINE_EXCEEDED: the program made no call in time; the request is withdrawn.
// NOT_FOUND: the process ended before it answered.
absl::StatusOr<AnchorAnswer> request_through_anchor(pid_t pid, uint64_t anchor, const AnchorRequest& request);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_PROGRAM_ANCHOR_H_
