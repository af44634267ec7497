// /proc/sysvipc/shm: the System V shared memory of the reader's IPC namespace.
#ifndef STILLPOINT_HELPER_PROCFS_SYSV_SEGMENTS_H_
#define STILLPOINT_HELPER_PROCFS_SYSV_SEGMENTS_H_

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace stillpoint::procfs {

struct SysvSegment {
  int32_t key = 0;  // 0: IPC_PRIVATE, or marked for destruction
  int32_t id = 0;
  uint32_t mode = 0;     // permission bits
  bool removed = false;  // IPC_RMID: gone with its last attachment
  bool locked = false;   // SHM_LOCK
  uint64_t size = 0;     // bytes, as it was asked for
  pid_t creator = 0, last_pid = 0;
  uint64_t attachments = 0;
  uint32_t uid = 0, gid = 0, creator_uid = 0, creator_gid = 0;
};

absl::StatusOr<std::vector<SysvSegment>> parse_sysv_segments(absl::string_view text);
// Empty where the kernel has no System V IPC.
absl::StatusOr<std::vector<SysvSegment>> read_sysv_segments();

}  // namespace stillpoint::procfs

#endif  // STILLPOINT_HELPER_PROCFS_SYSV_SEGMENTS_H_
