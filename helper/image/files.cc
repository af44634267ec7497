#include "helper/image/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"
#include "helper/image/storage_error.h"

namespace stillpoint::image {
namespace {

constexpr int kMaxTreeDepth = 16;

bool is_single_component(const std::string& name) {
  return !name.empty() && name != ".." && name.find('/') == std::string::npos;
}

absl::Status not_regular(const struct stat& stat, absl::string_view label) {
  absl::string_view kind = "a device or socket";
  if (S_ISLNK(stat.st_mode)) kind = "a symbolic link";
  if (S_ISFIFO(stat.st_mode)) kind = "a FIFO";
  if (S_ISDIR(stat.st_mode)) kind = "a directory";
  return absl::DataLossError(absl::StrCat(label, " is ", kind, ", not a regular file"));
}

absl::Status remove_tree_at_depth(int parent, const std::string& name, absl::string_view label, int depth) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return absl::OkStatus();
  const int unlink_error = errno;
  struct stat stat = {};
  if (::fstatat(parent, name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(stat.st_mode)) {
    return storage_error(unlink_error, absl::StrCat("unlink ", label));
  }
  if (depth >= kMaxTreeDepth) {
    return absl::FailedPreconditionError(absl::StrCat(label, " is nested too deep to be removed: remove it by hand"));
  }
  ASSIGN_OR_RETURN(const UniqueFd directory, open_directory(parent, name, label));
  ASSIGN_OR_RETURN(const std::vector<std::string> entries, list_directory(directory.get(), label));
  for (const std::string& entry : entries) {
    RETURN_IF_ERROR(remove_tree_at_depth(directory.get(), entry, absl::StrCat(label, "/", entry), depth + 1));
  }
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
    return storage_error(errno, absl::StrCat("rmdir ", label));
  }
  return absl::OkStatus();
}

absl::Status open_error(int error, int parent, const std::string& name, absl::string_view call,
                        absl::string_view label) {
  const std::string what = absl::StrCat(call, label);
  struct stat stat = {};
  if (::fstatat(parent, name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) != 0) return storage_error(error, what);
  return access_error(error, what, label, stat, Access::kRead);
}

absl::Status create_error(int error, int parent, absl::string_view call, absl::string_view label) {
  const std::string what = absl::StrCat(call, label);
  struct stat stat = {};
  if (::fstat(parent, &stat) != 0) return storage_error(error, what);
  return access_error(error, what, label.substr(0, label.rfind('/')), stat, Access::kWrite);
}

}  // namespace

int open_beneath(int directory, const std::string& name, int flags, mode_t mode) {
  if (!is_single_component(name)) {
    errno = EXDEV;
    return -1;
  }
  if (!feature_disabled("openat2")) {
    open_how how = {};
    how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
    how.mode = mode;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const int fd = static_cast<int>(::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof how));
    // Container runtimes older than openat2 answer it with EPERM or ENOSYS.
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return fd;
  }
  // For a single component O_NOFOLLOW promises the same.
  return ::openat(directory, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode);
}

absl::StatusOr<UniqueFd> reopen_directory(int directory, absl::string_view label) {
  UniqueFd fd(open_beneath(directory, ".", O_RDONLY | O_DIRECTORY));
  if (!fd.valid()) return storage_error(errno, absl::StrCat("open directory ", label));
  return fd;
}

absl::StatusOr<UniqueFd> open_directory(int parent, const std::string& name, absl::string_view label) {
  UniqueFd fd(open_beneath(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (!fd.valid() && errno == ELOOP) {
    return absl::DataLossError(absl::StrCat(label, " is a symbolic link, not a directory"));
  }
  if (!fd.valid()) return open_error(errno, parent, name, "open directory ", label);
  return fd;
}

absl::StatusOr<UniqueFd> open_regular(int directory, const std::string& name, absl::string_view label,
                                      int extra_flags) {
  struct stat stat = {};
  if (!is_single_component(name)) return absl::InvalidArgumentError(absl::StrCat(label, " is not a plain file name"));
  if (::fstatat(directory, name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return absl::NotFoundError(absl::StrCat(label, " is missing"));
    return storage_error(errno, absl::StrCat("stat ", label));
  }
  // Looked at before it is opened, since opening a device can do things, and after, since it may have been exchanged.
  if (!S_ISREG(stat.st_mode)) return not_regular(stat, label);
  UniqueFd fd(open_beneath(directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | extra_flags));
  if (!fd.valid()) return open_error(errno, directory, name, "open ", label);
  if (::fstat(fd.get(), &stat) != 0) return storage_error(errno, absl::StrCat("stat ", label));
  if (!S_ISREG(stat.st_mode)) return not_regular(stat, label);
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) {
    return storage_error(errno, absl::StrCat("fcntl(F_SETFL) on ", label));
  }
  return fd;
}

absl::StatusOr<UniqueFd> create_regular(int directory, const std::string& name, absl::string_view label) {
  UniqueFd fd(open_beneath(directory, name, O_RDWR | O_CREAT | O_EXCL, 0600));
  if (!fd.valid()) return create_error(errno, directory, "create ", label);
  if (::fchmod(fd.get(), 0600) != 0) return storage_error(errno, absl::StrCat("fchmod ", label));
  return fd;
}

absl::StatusOr<UniqueFd> create_directory(int parent, const std::string& name, absl::string_view label) {
  if (!is_single_component(name)) return absl::InvalidArgumentError(absl::StrCat(label, " is not a plain file name"));
  if (::mkdirat(parent, name.c_str(), 0700) != 0) return create_error(errno, parent, "mkdir ", label);
  // A umask that denies its owner would make a directory that its owner cannot open.
  if (::fchmodat(parent, name.c_str(), 0700, 0) != 0) return storage_error(errno, absl::StrCat("chmod ", label));
  return open_directory(parent, name, label);
}

absl::StatusOr<std::vector<std::string>> list_directory(int directory, absl::string_view label) {
  ASSIGN_OR_RETURN(UniqueFd own, reopen_directory(directory, label));
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(own.get()), &::closedir);
  if (stream == nullptr) return storage_error(errno, absl::StrCat("read directory ", label));
  own.release();  // the stream's now
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  if (errno != 0) return storage_error(errno, absl::StrCat("read directory ", label));
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status write_bytes(int fd, absl::string_view bytes, absl::string_view label) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return storage_error(errno, absl::StrCat("write ", label));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status sync_file(int fd, absl::string_view label) {
  int result = 0;
  do {
    result = ::fsync(fd);
  } while (result != 0 && errno == EINTR);
  // EINVAL: a filesystem without anything to sync, such as some FUSE ones for directories.
  if (result != 0 && errno != EINVAL) return storage_error(errno, absl::StrCat("fsync ", label));
  return absl::OkStatus();
}

absl::Status remove_tree(int parent, const std::string& name, absl::string_view label) {
  if (!is_single_component(name)) return absl::InvalidArgumentError(absl::StrCat(label, " is not a plain file name"));
  return remove_tree_at_depth(parent, name, label, 0);
}

absl::Status rename_entry(int directory, const std::string& from, const std::string& to, absl::string_view label) {
  if (::renameat(directory, from.c_str(), directory, to.c_str()) == 0) return absl::OkStatus();
  return storage_error(errno, absl::StrCat("rename ", label, "/", from, " to ", to));
}

void mark_alive(int fd) {
  // Where the filesystem has no locks nobody can tell, and liveness() says so.
  static_cast<void>(::flock(fd, LOCK_EX | LOCK_NB));
}

Liveness liveness(int directory, const std::string& name) {
  struct stat stat = {};
  if (::fstatat(directory, name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) != 0) return Liveness::kDead;
  if (!S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode)) return Liveness::kDead;  // nobody writes through a link or FIFO
  const UniqueFd fd(open_beneath(directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid()) return Liveness::kUnknown;
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return Liveness::kDead;
  return errno == EWOULDBLOCK ? Liveness::kAlive : Liveness::kUnknown;
}

}  // namespace stillpoint::image
