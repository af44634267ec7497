// Opening files again with the flags they had.
#ifndef STILLPOINT_HELPER_RESOURCES_REOPEN_H_
#define STILLPOINT_HELPER_RESOURCES_REOPEN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// Those of an open file description's flags (F_GETFL) that open(2) may be given again: nothing that creates,
// truncates or takes a controlling terminal. O_CLOEXEC and O_NOCTTY are added.
int reopen_flags(uint32_t flags);

// open(2) with reopen_flags(flags); O_NOATIME is dropped where it is not permitted.
absl::StatusOr<UniqueFd> reopen_path(const std::string& path, uint32_t flags);

// A new open file description of the object behind `fd`, by /proc/self/fd. Anonymous pipes and memfds have no other
// way.
absl::StatusOr<UniqueFd> reopen_fd(int fd, uint32_t flags, absl::string_view what);

// A new description of the object behind a frozen process's fd, open for reading without blocking or touching atime.
// Moves no offset of the process and shares none of its flags.
absl::StatusOr<UniqueFd> open_for_reading(const OpenFileView& file);

// Sets the file offset; `what` names the file.
absl::Status set_position(int fd, int64_t position, absl::string_view what);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_REOPEN_H_
