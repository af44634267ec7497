#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/unique_fd.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {
namespace {

constexpr size_t kFirstLinkSize = 256;
constexpr size_t kLargestLink = size_t{1} << 20;

}  // namespace

absl::StatusOr<std::string> read_link(const std::string& path) {
  for (size_t size = kFirstLinkSize; size <= kLargestLink; size *= 4) {
    std::string target(size, '\0');
    const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
    if (length < 0) return errno_status(errno, absl::StrCat("readlink ", path));
    if (static_cast<size_t>(length) < size) {  // else it may have been cut
      target.resize(static_cast<size_t>(length));
      return target;
    }
  }
  return absl::ResourceExhaustedError(absl::StrCat("readlink ", path, ": longer than ", kLargestLink, " bytes"));
}

absl::StatusOr<std::string> read_text(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("open ", path));
  return read_whole(fd.get(), path);
}

absl::StatusOr<uint64_t> read_namespace_inode(pid_t pid, absl::string_view kind) {
  const std::string path = process_path(pid, absl::StrCat("ns/", kind));
  ASSIGN_OR_RETURN(const std::string target, read_link(path));
  absl::string_view rest = target;  // "pid:[4026531836]"
  uint64_t inode = 0;
  take_until(rest, ':');
  if (!take(rest, '[') || !take_number(rest, inode) || rest != "]") {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a namespace link: \"", absl::CHexEscape(target), "\""));
  }
  return inode;
}

absl::StatusOr<std::string> read_auxv(pid_t pid) { return read_text(process_path(pid, "auxv")); }

}  // namespace stillpoint::procfs
