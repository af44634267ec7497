#include "helper/resources/reopen.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/printable.h"

namespace stillpoint {
namespace {

constexpr int kReopenable =
    O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME | O_DIRECTORY | O_NOFOLLOW | O_PATH;

}  // namespace

int reopen_flags(uint32_t flags) { return (static_cast<int>(flags) & kReopenable) | O_CLOEXEC | O_NOCTTY; }

absl::StatusOr<UniqueFd> reopen_path(const std::string& path, uint32_t flags) {
  const int open_flags = reopen_flags(flags);
  int fd = ::open(path.c_str(), open_flags);
  if (fd < 0 && errno == EPERM && (open_flags & O_NOATIME) != 0) fd = ::open(path.c_str(), open_flags & ~O_NOATIME);
  if (fd < 0) return errno_status(errno, absl::StrCat("open ", printable(path)));
  return UniqueFd(fd);
}

absl::StatusOr<UniqueFd> reopen_fd(int fd, uint32_t flags, absl::string_view what) {
  // O_NOFOLLOW would refuse the link in /proc; O_DIRECTORY is left by O_TMPFILE and means nothing here.
  absl::StatusOr<UniqueFd> again =
      reopen_path(absl::StrCat("/proc/self/fd/", fd), flags & ~static_cast<uint32_t>(O_NOFOLLOW | O_DIRECTORY));
  if (!again.ok()) return with_context(again.status(), what);
  return again;
}

absl::StatusOr<UniqueFd> open_for_reading(const OpenFileView& file) {
  const std::string path =
      file.fd >= 0 ? absl::StrCat("/proc/self/fd/", file.fd) : absl::StrCat("/proc/", file.pid, "/fd/", file.number);
  absl::StatusOr<UniqueFd> fd = reopen_path(path, O_RDONLY | O_NONBLOCK | O_NOATIME);
  if (!fd.ok()) return with_context(fd.status(), describe(file));
  return fd;
}

absl::Status set_position(int fd, int64_t position, absl::string_view what) {
  if (position < 0) return absl::DataLossError(absl::StrCat(what, ": negative file position"));
  if (::lseek(fd, position, SEEK_SET) < 0) {
    return errno_status(errno, absl::StrCat("lseek of ", what, " to ", position));
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
