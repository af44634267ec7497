// Finds the SDK in a program's memory, every byte of which may be a lie, by its note (helper/protocol/anchor.h).
#ifndef STILLPOINT_HELPER_ANCHOR_SCAN_H_
#define STILLPOINT_HELPER_ANCHOR_SCAN_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {

// How the scanner reads the program: all `size` bytes at `address`, or an error. Tests put their own in.
using MemoryReader = std::function<absl::Status(uint64_t address, void* buffer, size_t size)>;

// Addresses of all anchors of the program whose mappings these are. Never fails: what cannot be read or makes no
// sense is no anchor.
std::vector<uint64_t> scan_for_anchors(const std::vector<procfs::Mapping>& maps, const MemoryReader& read);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_ANCHOR_SCAN_H_
