#include "helper/base/syscalls.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"

namespace stillpoint {

int sys_pidfd_open(pid_t pid, unsigned flags) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, flags)); }

int sys_pidfd_getfd(int pidfd, int target_fd, unsigned flags) {
  return static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, target_fd, flags));
}

int sys_pidfd_send_signal(int pidfd, int signal) {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}

int sys_kcmp(pid_t pid1, pid_t pid2, int type, uint64_t index1, uint64_t index2) {
  return static_cast<int>(::syscall(SYS_kcmp, pid1, pid2, type, index1, index2));
}

absl::Status pread_all(int fd, void* buffer, size_t size, uint64_t offset, absl::string_view what) {
  char* at = static_cast<char*>(buffer);
  while (size > 0) {
    const ssize_t n = ::pread(fd, at, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_status(errno, absl::StrCat("read of ", what));
    if (n == 0) return absl::DataLossError(absl::StrCat(what, " ends at byte ", offset, ", ", size, " bytes early"));
    at += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status pwrite_all(int fd, const void* buffer, size_t size, uint64_t offset, absl::string_view what) {
  const char* at = static_cast<const char*>(buffer);
  while (size > 0) {
    const ssize_t n = ::pwrite(fd, at, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_status(errno, absl::StrCat("write to ", what));
    at += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status write_all(int fd, absl::string_view bytes, absl::string_view what) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_status(errno, absl::StrCat("write to ", what));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> read_whole(int fd, absl::string_view what, size_t limit) {
  std::string bytes;
  size_t used = 0;
  for (;;) {
    if (bytes.size() - used < 16384) bytes.resize(bytes.size() + 65536 + bytes.size() / 2);
    const ssize_t n = ::pread(fd, bytes.data() + used, bytes.size() - used, static_cast<off_t>(used));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_status(errno, absl::StrCat("read of ", what));
    if (n == 0) break;
    used += static_cast<size_t>(n);
    if (used > limit) return absl::ResourceExhaustedError(absl::StrCat(what, " is larger than ", limit, " bytes"));
  }
  bytes.resize(used);
  return bytes;
}

namespace {

using VmCall = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long, unsigned long);

// How many bytes one process_vm_readv or process_vm_writev moved before it stopped for good.
size_t transfer_by_vm_call(VmCall vm_call, pid_t pid, uint64_t address, void* buffer, size_t size) {
  size_t done = 0;
  while (done < size) {
    const iovec local = {static_cast<char*>(buffer) + done, size - done};
    const iovec remote = {reinterpret_cast<void*>(address + done), size - done};
    const ssize_t n = vm_call(pid, &local, 1, &remote, 1, 0);
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

std::string describe_memory(pid_t pid, uint64_t address, size_t size) {
  return absl::StrCat("memory of pid ", pid, " at 0x", absl::Hex(address), "+0x", absl::Hex(size));
}

absl::StatusOr<UniqueFd> open_memory(pid_t pid, int mode) {
  const std::string path = absl::StrCat("/proc/", pid, "/mem");
  UniqueFd fd(::open(path.c_str(), mode | O_CLOEXEC));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("open ", path));
  return fd;
}

}  // namespace

absl::Status read_memory(pid_t pid, uint64_t address, void* buffer, size_t size) {
  const size_t done = transfer_by_vm_call(&::process_vm_readv, pid, address, buffer, size);
  if (done == size) return absl::OkStatus();
  ASSIGN_OR_RETURN(const UniqueFd mem, open_memory(pid, O_RDONLY));
  return pread_all(mem.get(), static_cast<char*>(buffer) + done, size - done, address + done,
                   describe_memory(pid, address, size));
}

absl::Status write_memory(pid_t pid, uint64_t address, const void* buffer, size_t size) {
  void* source = const_cast<void*>(buffer);
  const size_t done = transfer_by_vm_call(&::process_vm_writev, pid, address, source, size);
  if (done == size) return absl::OkStatus();
  ASSIGN_OR_RETURN(const UniqueFd mem, open_memory(pid, O_RDWR));
  return pwrite_all(mem.get(), static_cast<const char*>(buffer) + done, size - done, address + done,
                    describe_memory(pid, address, size));
}

}  // namespace stillpoint
