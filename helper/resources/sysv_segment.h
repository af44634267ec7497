// System V shared memory that only the processes of a tree have attached. Content travels as that of other shared
// memory; the segment comes back under its id and key.
#ifndef STILLPOINT_HELPER_RESOURCES_SYSV_SEGMENT_H_
#define STILLPOINT_HELPER_RESOURCES_SYSV_SEGMENT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "helper/model/model.pb.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/sysv_segments.h"
#include "helper/resources/finding.h"

namespace stillpoint {

// Whether this is an attached segment; the inode then is its id. A file may also be called "/SYSV...".
bool is_sysv_segment(const procfs::Mapping& mapping);

// Fills `memory`, a segment that the tree has attached `attachments` times, the first at `mapping`, from the system's
// list. SP-SYSV-SHM when others have it too, or when it cannot come back.
void audit_sysv_segment(const std::vector<procfs::SysvSegment>& all, const procfs::Mapping& mapping,
                        uint64_t attachments, model::SharedMemory& memory, Findings& findings);

bool has_sysv_segments(const model::Tree& tree);

// Segments that a restore makes, or takes over from an earlier life that left them behind. What was made goes again
// unless keep() was called.
class SysvSegments {
 public:
  SysvSegments() = default;
  SysvSegments(const SysvSegments&) = delete;
  SysvSegments& operator=(const SysvSegments&) = delete;
  ~SysvSegments();

  // Attaches the segment, all zero, at `address`. FAILED_PRECONDITION: its id or key is somebody else's.
  absl::Status create(const model::Tree& tree, const model::SharedMemory& memory, uint64_t address,
                      std::vector<std::string>& notes);
  // Once more, so that it can never be written through there.
  static absl::Status attach_read_only(const model::SharedMemory& memory, uint64_t address);
  // Owner, permissions and IPC_RMID: the processes have it by now.
  absl::Status finish(const model::SharedMemory& memory) const;
  void keep() { made_.clear(); }

 private:
  std::vector<int> made_;  // ids
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_SYSV_SEGMENT_H_
