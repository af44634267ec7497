// System calls without the C library: for code that runs while other threads are frozen, in a task that shares the
// application's memory, or in a snapshot. No errno, no cancellation point, no allocation. Results are the kernel's:
// -errno.
#ifndef STILLPOINT_SDK_RAW_SYSCALL_H_
#define STILLPOINT_SDK_RAW_SYSCALL_H_

#include <sys/syscall.h>

#include <cerrno>

// Code that runs on a foreign stack or in a half-made process must not be instrumented.
#define STILLPOINT_NO_SANITIZE __attribute__((no_sanitize("address", "undefined", "thread"), noinline))

namespace stillpoint::sdk {

template <typename T>
inline long syscall_argument(T value) {
  return (long)value;  // NOLINT(google-readability-casting): integers and pointers alike
}

__attribute__((always_inline)) inline long raw_syscall6(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

__attribute__((always_inline)) inline long raw_syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0,
                                                       long e = 0, long f = 0) {
  return raw_syscall6(number, a, b, c, d, e, f);
}

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_RAW_SYSCALL_H_
