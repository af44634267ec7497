// All threads of one process, seized and stopped together.
#ifndef STILLPOINT_HELPER_TRACEE_FROZEN_PROCESS_H_
#define STILLPOINT_HELPER_TRACEE_FROZEN_PROCESS_H_

#include <sys/types.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "helper/tracee/thread.h"

namespace stillpoint {

// Destroying the object resumes every thread.
class FrozenProcess {
 public:
  // Seizes and stops every thread of `pid`; repeats until /proc/PID/task shows no thread that is not stopped. Every
  // thread is interrupted before the first is waited for. DEADLINE_EXCEEDED names the tid and its state;
  // FAILED_PRECONDITION names a tracer. On error everything already seized runs on.
  static absl::StatusOr<FrozenProcess> freeze(pid_t pid, absl::Time deadline);
  // The first step of it, quickly, for a process that may be gone in the next moment: seizes the leader and interrupts
  // it without waiting. NOT_FOUND: it is a zombie or gone. UNAVAILABLE: it has several threads, or sleeps
  // uninterruptibly: not touched.
  static absl::StatusOr<Thread> catch_leader(pid_t pid);
  // All the rest.
  static absl::StatusOr<FrozenProcess> freeze(pid_t pid, Thread caught_leader, absl::Time deadline);

  pid_t pid() const { return pid_; }
  // The leader first when it lives (a leader that left by pthread_exit is a zombie and not among them), then ascending
  // tids.
  std::vector<Thread>& threads() { return threads_; }
  Thread* find(pid_t tid);
  // Detaches every thread; OK unless one that still lives could not be detached.
  absl::Status thaw();

 private:
  absl::Status stop_all(absl::Time deadline);

  pid_t pid_ = 0;
  std::vector<Thread> threads_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_TRACEE_FROZEN_PROCESS_H_
