// An owned file descriptor, closed when the object goes.
#ifndef STILLPOINT_HELPER_BASE_UNIQUE_FD_H_
#define STILLPOINT_HELPER_BASE_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace stillpoint {

// Movable, not copyable. close(2) is not retried on EINTR: on Linux the
// descriptor is gone either way. Keeps errno, so that it can go out of scope
// between a failing system call and the report of it.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_BASE_UNIQUE_FD_H_
