// A mutex that a forked child finds usable: one that was held in the parent by a thread that does not exist
// in the child counts as free there. What it guards must therefore be consistent between any two instructions.
#ifndef STILLPOINT_SDK_FORK_SAFE_LOCK_H_
#define STILLPOINT_SDK_FORK_SAFE_LOCK_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>

namespace stillpoint::sdk {

// Constant-initialised: the SDK has no constructors that run at load. Not recursive. Satisfies BasicLockable.
class ForkSafeLock {
 public:
  constexpr ForkSafeLock() = default;
  ForkSafeLock(const ForkSafeLock&) = delete;
  ForkSafeLock& operator=(const ForkSafeLock&) = delete;

  void lock();
  void unlock();
  bool held_by_this_thread() const;

 private:
  static constexpr uint32_t kWaiters = uint32_t{1} << 31;

  bool try_take(pid_t pid, uint32_t with_waiters);

  std::atomic<uint32_t> word_{0};  // pid of the process whose thread holds it, and kWaiters; a futex
  std::atomic<pid_t> owner_tid_{0};
};

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_FORK_SAFE_LOCK_H_
