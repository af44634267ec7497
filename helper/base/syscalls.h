// Linux system calls and constants that Debian 12's headers do not have yet, and
// full reads and writes. Each wrapper is a thin call: -1 and errno on failure.
#ifndef STILLPOINT_HELPER_BASE_SYSCALLS_H_
#define STILLPOINT_HELPER_BASE_SYSCALLS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/base/unique_fd.h"

namespace stillpoint {

inline constexpr size_t kPageSize = 4096;  // x86-64
constexpr uint64_t page_floor(uint64_t n) { return n & ~uint64_t{kPageSize - 1}; }
constexpr uint64_t page_ceil(uint64_t n) { return page_floor(n + kPageSize - 1); }

int sys_pidfd_open(pid_t pid, unsigned flags);
int sys_pidfd_getfd(int pidfd, int target_fd, unsigned flags);
int sys_pidfd_send_signal(int pidfd, int signal);
// Linux: kernel/kcmp.c. 0 equal, 1 less, 2 greater, 3 different.
int sys_kcmp(pid_t pid1, pid_t pid2, int type, uint64_t index1, uint64_t index2);

// Linux: include/uapi/linux/sched/types.h struct sched_attr, whose header collides with the C library's <sched.h>.
struct SchedAttr {
  uint32_t size = sizeof(SchedAttr);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;  // nanoseconds
  uint32_t util_min = 0, util_max = 0;
};

// Reads exactly `size` bytes at `offset`, retrying short reads; EOF before that is DATA_LOSS. `what` names the file.
absl::Status pread_all(int fd, void* buffer, size_t size, uint64_t offset, absl::string_view what);
absl::Status pwrite_all(int fd, const void* buffer, size_t size, uint64_t offset, absl::string_view what);
absl::Status write_all(int fd, absl::string_view bytes, absl::string_view what);
// The whole file from its beginning (works on /proc, whose sizes are 0). Refuses more than `limit` bytes.
absl::StatusOr<std::string> read_whole(int fd, absl::string_view what, size_t limit = size_t{1} << 30);

// Memory of another process, by process_vm_readv/writev with /proc/PID/mem as
// the fallback for pages whose protection forbids it. All bytes or an error that names the address.
absl::Status read_memory(pid_t pid, uint64_t address, void* buffer, size_t size);
absl::Status write_memory(pid_t pid, uint64_t address, const void* buffer, size_t size);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_BASE_SYSCALLS_H_
