#include "tools/leaked_fds.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"

namespace stillpoint::tools {
namespace {

// null, zero, full, random, urandom: a restart opens them again.
bool is_virtual_device(const struct stat& info) {
  if (!S_ISCHR(info.st_mode) || major(info.st_rdev) != 1) return false;
  const unsigned kinds[] = {3, 5, 7, 8, 9};
  return std::find(std::begin(kinds), std::end(kinds), minor(info.st_rdev)) != std::end(kinds);
}

bool is_standard_stream(const struct stat& info) {
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    struct stat stream = {};
    if (::fstat(number, &stream) != 0) continue;
    if (stream.st_dev == info.st_dev && stream.st_ino == info.st_ino && stream.st_rdev == info.st_rdev) return true;
  }
  return false;
}

bool names(const std::string& argument, const std::string& path) {
  for (size_t at = argument.find(path); at != std::string::npos; at = argument.find(path, at + 1)) {
    const size_t end = at + path.size();
    if (end == argument.size() || std::isdigit(static_cast<unsigned char>(argument[end])) == 0) return true;
  }
  return false;
}

bool named_by(const std::vector<std::string>& arguments, int number) {
  return std::any_of(arguments.begin(), arguments.end(), [number](const std::string& argument) {
    return names(argument, absl::StrCat("/dev/fd/", number)) || names(argument, absl::StrCat("/proc/self/fd/", number));
  });
}

}  // namespace

absl::StatusOr<std::vector<LeakedFd>> withhold_leaked_fds(const std::vector<std::string>& arguments) {
  ASSIGN_OR_RETURN(const std::vector<int> numbers, procfs::read_fds(::getpid()));
  std::vector<LeakedFd> leaked;
  for (const int number : numbers) {
    const int flags = ::fcntl(number, F_GETFD);
    struct stat info = {};
    if (number <= STDERR_FILENO || flags < 0 || (flags & FD_CLOEXEC) != 0 || ::fstat(number, &info) != 0) continue;
    const bool device = S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode);
    if (!S_ISFIFO(info.st_mode) && !S_ISSOCK(info.st_mode) && (!device || is_virtual_device(info))) continue;
    if (is_standard_stream(info) || named_by(arguments, number)) continue;
    if (::fcntl(number, F_SETFD, flags | FD_CLOEXEC) != 0) {
      return errno_status(errno, absl::StrCat("fcntl(F_SETFD) on fd ", number));
    }
    const absl::StatusOr<std::string> link = procfs::read_link(absl::StrCat("/proc/self/fd/", number));
    leaked.push_back({number, link.ok() ? *link : "?"});
  }
  return leaked;
}

std::string describe(const std::vector<LeakedFd>& fds) {
  std::string text;
  for (size_t i = 0; i < fds.size(); ++i) {
    const char* const between = i == 0 ? "" : i + 1 == fds.size() ? " and " : ", ";
    absl::StrAppend(&text, between, "fd ", fds[i].number, " (", fds[i].object, ")");
  }
  return text;
}

}  // namespace stillpoint::tools
