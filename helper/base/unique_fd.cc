#include "helper/base/unique_fd.h"

#include <cerrno>

namespace stillpoint {

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) {
    const int saved_errno = errno;
    ::close(fd_);
    errno = saved_errno;
  }
  fd_ = fd;
}

}  // namespace stillpoint
