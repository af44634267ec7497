// Times as numbers of nanoseconds. What does not fit (a file may claim any modification time, a program may answer any
// timer value) becomes the nearest number that does.
#ifndef STILLPOINT_HELPER_BASE_NANOSECONDS_H_
#define STILLPOINT_HELPER_BASE_NANOSECONDS_H_

#include <sys/time.h>
#include <time.h>

#include <cstdint>
#include <limits>

namespace stillpoint {

inline int64_t to_nanoseconds(const timespec& time) {
  int64_t ns = 0;
  if (!__builtin_mul_overflow(time.tv_sec, int64_t{1'000'000'000}, &ns) &&
      !__builtin_add_overflow(ns, time.tv_nsec, &ns)) {
    return ns;
  }
  return time.tv_sec < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

inline int64_t to_nanoseconds(const timeval& time) {
  int64_t ns = 0;
  // Whole seconds first: an odd number of microseconds cannot hide the sign.
  const timespec whole = {time.tv_sec, 0};
  if (!__builtin_mul_overflow(time.tv_usec, int64_t{1'000}, &ns) &&
      !__builtin_add_overflow(to_nanoseconds(whole), ns, &ns)) {
    return ns;
  }
  return time.tv_sec < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_BASE_NANOSECONDS_H_
