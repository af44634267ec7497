// What the worker has instead of a C library: raw system calls, futexes, memory
// functions. Freestanding; included by the worker's own files only.
#ifndef STILLPOINT_HELPER_MEMORY_WORKER_SYSTEM_H_
#define STILLPOINT_HELPER_MEMORY_WORKER_SYSTEM_H_

#include <asm/unistd_64.h>
#include <linux/futex.h>

#include <cstddef>
#include <cstdint>

#include "helper/memory/worker_abi.h"

namespace stillpoint::worker {

// The raw result: -errno on failure.
inline int64_t system_call(int64_t number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0,
                           uint64_t e = 0, uint64_t f = 0) {
  register uint64_t r10 asm("r10") = d;
  register uint64_t r8 asm("r8") = e;
  register uint64_t r9 asm("r9") = f;
  int64_t result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

template <typename T>
T load_acquire(const T* at) {
  return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}
template <typename T>
void store_release(T* at, T value) {
  __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

// Shared futexes: helper and worker are different processes.
inline void futex_wait(uint32_t* at, uint32_t while_value) {
  system_call(__NR_futex, reinterpret_cast<uint64_t>(at), FUTEX_WAIT, while_value, 0);
}
inline void futex_wake(uint32_t* at) {
  system_call(__NR_futex, reinterpret_cast<uint64_t>(at), FUTEX_WAKE, 0x7fffffff);
}

inline void sleep_ns(int64_t nanoseconds) {
  const struct { int64_t seconds, nanoseconds; } duration = {0, nanoseconds};
  system_call(__NR_nanosleep, reinterpret_cast<uint64_t>(&duration), 0);
}

inline int64_t monotonic_ns() {
  struct {
    int64_t seconds, nanoseconds;
  } now = {0, 0};
  constexpr uint64_t kMonotonic = 1;
  system_call(__NR_clock_gettime, kMonotonic, reinterpret_cast<uint64_t>(&now));
  return now.seconds * 1'000'000'000 + now.nanoseconds;
}

// Large copies: the string instructions are as fast as vector code there and touch no vector state.
inline void copy_bytes(void* to, const void* from, size_t size) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}
inline void zero_bytes(void* to, size_t size) { asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(0) : "memory"); }

extern "C" {
int64_t worker_clone(uint64_t flags, uint64_t stack_top, int32_t* parent_tid, int32_t* child_tid, void* argument,
                     void (*function)(void*));
int64_t worker_clone3(const void* clone_args, size_t size, void (*function)(void*), void* argument);
}

inline constexpr int64_t kEAGAIN = 11, kEFAULT = 14, kEEXIST = 17, kEINVAL = 22, kEINTR = 4, kEIO = 5, kENODATA = 61,
                         kEADDRINUSE = 98, kESRCH = 3, kENOSYS = 38;

// worker_pages.cc: the jobs kWritePages and kReadPages.
void transfer_pages(Control* control, bool write);

}  // namespace stillpoint::worker

#endif  // STILLPOINT_HELPER_MEMORY_WORKER_SYSTEM_H_
