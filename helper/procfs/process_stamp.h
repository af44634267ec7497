// Which process a pid means, in words that hold in every pid and time namespace of one boot.
#ifndef STILLPOINT_HELPER_PROCFS_PROCESS_STAMP_H_
#define STILLPOINT_HELPER_PROCFS_PROCESS_STAMP_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace stillpoint::procfs {

struct ProcessStamp {
  pid_t pid = 0;         // as the process sees itself
  int64_t start_ms = 0;  // since boot, as the host's clock tells it
};

// The kernel shows start times in hundredths of a second, and each time namespace its own.
bool same_process(const ProcessStamp& a, const ProcessStamp& b);

absl::StatusOr<ProcessStamp> read_stamp(pid_t pid);
// Of `pid` and its ancestors, as far as this pid namespace shows them.
absl::StatusOr<std::vector<ProcessStamp>> read_lineage(pid_t pid);
// False where the process has ended, is a zombie, or has another number in this pid namespace.
bool still_runs(const ProcessStamp& process);
// The number it has here, in whatever pid namespace below it lives; nullopt where it has ended, or is not to be seen.
std::optional<pid_t> find_process(const ProcessStamp& process);
// True for one that has been killed and is being taken down: a large one takes a while.
bool is_ending(pid_t pid);

// CLOCK_BOOTTIME of this process's time namespace minus the host's, from the text of /proc/PID/timens_offsets.
absl::StatusOr<int64_t> parse_boottime_offset_ms(absl::string_view text);

}  // namespace stillpoint::procfs

#endif  // STILLPOINT_HELPER_PROCFS_PROCESS_STAMP_H_
