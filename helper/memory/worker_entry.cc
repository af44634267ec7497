#include "helper/memory/worker_entry.h"

#include <signal.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

namespace stillpoint {
namespace {

int64_t raw(long number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0, uint64_t e = 0,
            uint64_t f = 0) {
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
uint64_t address_of(const T& object) {
  return reinterpret_cast<uint64_t>(&object);
}

void unregister_rseq() {
  if (__rseq_size == 0) return;
  const uint64_t area = reinterpret_cast<uint64_t>(__builtin_thread_pointer()) + static_cast<uint64_t>(__rseq_offset);
  // The size must be the registered one: 32 at first, the kernel's own where the C library knows newer areas.
  constexpr uint64_t kFirstSize = 32;
  if (raw(SYS_rseq, area, kFirstSize, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0) return;
  raw(SYS_rseq, area, (__rseq_size + 31) & ~31u, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
}

}  // namespace

void leave_c_library() {
  const uint64_t all = ~uint64_t{0};
  raw(SYS_rt_sigprocmask, SIG_SETMASK, address_of(all), 0, sizeof all);
  unregister_rseq();
  constexpr uint64_t kRobustListHeadSize = 24;
  raw(SYS_set_robust_list, 0, kRobustListHeadSize);
  raw(SYS_set_tid_address, 0);
  stack_t none = {};
  none.ss_flags = SS_DISABLE;
  raw(SYS_sigaltstack, address_of(none));
}

int64_t raw_call(const worker::Call& call) {
  const uint64_t* a = call.arguments;
  return raw(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

void raw_exit(int status) {
  for (;;) raw(SYS_exit_group, static_cast<uint64_t>(status));
}

void jump_to_worker(uint64_t rip, uint64_t rsp, uint64_t rdi) {
  asm volatile(
      "movq %1, %%rsp\n\t"
      "jmp *%0"
      :
      : "r"(rip), "r"(rsp), "D"(rdi)
      : "memory");
  __builtin_unreachable();
}

}  // namespace stillpoint
