#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/syscalls.h"
#include "helper/check/probes.h"

namespace stillpoint::check {
namespace {

// A file without a name, or with one that is taken away at once where the filesystem knows none.
UniqueFd open_nameless(const std::string& directory) {
  UniqueFd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd.valid() || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  std::string name = absl::StrCat(directory, "/.stillpoint-check-XXXXXX");
  fd.reset(::mkostemp(name.data(), O_CLOEXEC));
  if (fd.valid()) ::unlink(name.c_str());
  return fd;
}

bool switch_to_direct(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_DIRECT) == 0;
}

}  // namespace

Probe probe_openat2() {
  open_how how = {};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  const UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof(how))));
  return fd.valid() ? yes() : failed("openat2");
}

Probe probe_direct_io(const std::string& directory) {
  const UniqueFd fd = open_nameless(directory);
  if (!fd.valid()) return failed(absl::StrCat("create a file in ", directory));
  if (!switch_to_direct(fd.get())) return failed(absl::StrCat("fcntl(O_DIRECT) in ", directory));
  void* page = ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return failed("mmap");
  const absl::Status written = pwrite_all(fd.get(), page, kPageSize, 0, absl::StrCat("a file in ", directory));
  ::munmap(page, kPageSize);
  return written.ok() ? yes(absl::StrCat("in ", directory)) : from_status(written);
}

}  // namespace stillpoint::check
