// Descriptors that only the new process itself can open: files of its own in /proc, a pidfd of itself.
#ifndef STILLPOINT_HELPER_RESOURCES_PROCESS_FD_H_
#define STILLPOINT_HELPER_RESOURCES_PROCESS_FD_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/resources/open_file_kind.h"
#include "helper/resources/process_fd.pb.h"

namespace stillpoint {

// Every number the frozen process has the file at, with its close-on-exec flag, and where the kernel will put what
// the process opens once the first of them is closed: at the lowest number that nothing of the image has.
absl::StatusOr<resources::ProcessFd> process_fd_places(const OpenFileView& file, const OpenFileDumpContext& context);

// A finding where several processes have the file: opened anew by each of them it would be theirs no more in common.
void audit_process_fd(const OpenFileView& file, Findings& findings);

// Of an image: at least one place, and numbers that can be.
absl::Status check_places(const model::OpenFile& file, const resources::ProcessFd& placed);

// Holds the places until the process has opened the real thing.
absl::StatusOr<UniqueFd> open_placeholder();

// Queues the calls that put what `open` opens in the placeholder's stead.
void place_in_process(OpenFileRestoreContext::ProcessCall open, const resources::ProcessFd& placed,
                      OpenFileRestoreContext& context);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_PROCESS_FD_H_
