// The application's own thread inside checkpoint(), as a dump uses it: it makes
// system calls for the helper as ordinary SDK code, so that nothing is injected.
#ifndef STILLPOINT_HELPER_DUMP_SDK_THREAD_H_
#define STILLPOINT_HELPER_DUMP_SDK_THREAD_H_

#include <sys/types.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"

namespace stillpoint {

class SdkThreadConnection {
 public:
  virtual ~SdkThreadConnection() = default;
  virtual pid_t tid() const = 0;
  virtual uint64_t scratch() const = 0;
  virtual uint64_t scratch_size() const = 0;
  virtual uint64_t context_address() const = 0;  // of a SavedContext (helper/protocol/context.h)
  virtual uint64_t signal_mask() const = 0;
  virtual const std::vector<int>& own_fds() const = 0;
  // The raw result of a system call the thread made. An error Status: the thread is gone or silent.
  virtual absl::StatusOr<int64_t> call(long number, std::initializer_list<uint64_t> arguments) = 0;
  // Lets the thread fork the snapshot (a grandchild whose parent is reaped at once). `control` goes to
  // the snapshot, which waits in recv(2) on it and exits at EOF. Returns its pid as the application sees it.
  virtual absl::StatusOr<pid_t> fork_snapshot(UniqueFd control) = 0;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_SDK_THREAD_H_
