#include "sdk/fork_safe_lock.h"

#include <linux/futex.h>
#include <unistd.h>

#include "sdk/raw_syscall.h"

namespace stillpoint::sdk {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

// Takes the lock when nobody of this process holds it.
bool ForkSafeLock::try_take(pid_t pid, uint32_t with_waiters) {
  uint32_t seen = word_.load(std::memory_order_relaxed);
  while (static_cast<pid_t>(seen & ~kWaiters) != pid) {
    if (word_.compare_exchange_weak(seen, static_cast<uint32_t>(pid) | with_waiters, std::memory_order_acquire)) {
      owner_tid_.store(::gettid(), std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

void ForkSafeLock::lock() {
  const pid_t pid = ::getpid();
  if (try_take(pid, 0)) return;
  const uint32_t contended = static_cast<uint32_t>(pid) | kWaiters;
  do {
    uint32_t held = static_cast<uint32_t>(pid);
    word_.compare_exchange_strong(held, contended, std::memory_order_relaxed);
    if (held == static_cast<uint32_t>(pid) || held == contended) {
      // Any return (woken, EINTR, EAGAIN) leads to another look.
      raw_syscall(SYS_futex, syscall_argument(&word_), FUTEX_WAIT_PRIVATE, contended, 0);
    }
    // Others may still wait: whoever has waited leaves the mark.
  } while (!try_take(pid, kWaiters));
}

void ForkSafeLock::unlock() {
  owner_tid_.store(0, std::memory_order_relaxed);
  if ((word_.exchange(0, std::memory_order_release) & kWaiters) != 0) {
    raw_syscall(SYS_futex, syscall_argument(&word_), FUTEX_WAKE_PRIVATE, 1);
  }
}

bool ForkSafeLock::held_by_this_thread() const {
  return static_cast<pid_t>(word_.load(std::memory_order_relaxed) & ~kWaiters) == ::getpid() &&
         owner_tid_.load(std::memory_order_relaxed) == ::gettid();
}

}  // namespace stillpoint::sdk
