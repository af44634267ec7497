#include "helper/anchor/find.h"

#include <cstddef>
#include <vector>

#include "helper/anchor/fields.h"
#include "helper/anchor/scan.h"
#include "helper/procfs/process_files.h"
#include "helper/protocol/anchor.h"

namespace stillpoint {

absl::StatusOr<std::optional<FoundAnchor>> find_anchor(pid_t pid) {
  ASSIGN_OR_RETURN(const std::vector<procfs::Mapping> maps, procfs::read_maps(pid));
  absl::Status denied;
  const std::vector<uint64_t> anchors = scan_for_anchors(maps, [&](uint64_t address, void* buffer, size_t size) {
    absl::Status status = read_memory(pid, address, buffer, size);
    if (absl::IsPermissionDenied(status)) denied = status;
    return status;
  });
  std::optional<FoundAnchor> busiest;
  for (const uint64_t anchor : anchors) {
    const absl::StatusOr<uint64_t> calls = read_field<uint64_t>(pid, anchor + offsetof(protocol::Anchor, calls));
    if (calls.ok() && (!busiest.has_value() || *calls > busiest->calls)) busiest = FoundAnchor{anchor, *calls};
  }
  if (!busiest.has_value() && !denied.ok()) return denied;
  return busiest;
}

}  // namespace stillpoint
