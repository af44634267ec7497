// Descriptors that only the new process itself can open: files of its own in /proc, a pidfd of itself.
#ifndef STILLPOINT_HELPER_RESOURCES_PROCESS_FD_H_
#define STILLPOINT_HELPER_RESOURCES_PROCESS_FD_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// An fd number of the process and its close-on-exec flag.
struct ProcessFdNumber {
  int number = -1;
  bool close_on_exec = false;
};

// All numbers of a frozen process's file with their flags. The flags stand in fdinfo, number by number.
absl::StatusOr<std::vector<ProcessFdNumber>> process_fd_numbers(const OpenFileView& file);

// Holds the numbers until the process has opened the real thing.
absl::StatusOr<UniqueFd> open_placeholder();

// Queues `open` (whose result is an fd), puts that fd at every one of `numbers`, and closes the one it came with.
void place_in_process(OpenFileRestoreContext::ProcessCall open, const std::vector<ProcessFdNumber>& numbers,
                      OpenFileRestoreContext& context);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_PROCESS_FD_H_
