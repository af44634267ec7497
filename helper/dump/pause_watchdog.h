// Ends a helper that hangs while it holds a program: its death lets the program run on.
#ifndef STILLPOINT_HELPER_DUMP_PAUSE_WATCHDOG_H_
#define STILLPOINT_HELPER_DUMP_PAUSE_WATCHDOG_H_

#include <time.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace stillpoint {

// A kernel timer whose signal is SIGKILL. It needs no thread of the helper's to run: a helper that is stopped, or waits
// for a filesystem that does not answer, dies all the same. (In a wait that the kernel does not let SIGKILL interrupt
// it dies when that wait ends.)
class PauseWatchdog {
 public:
  static absl::StatusOr<PauseWatchdog> create();
  PauseWatchdog(PauseWatchdog&& other) noexcept;
  PauseWatchdog& operator=(PauseWatchdog&& other) noexcept;
  ~PauseWatchdog();

  // From now on the helper has `limit` to come to the next allow() or to over().
  absl::Status allow(absl::Duration limit);
  absl::Status over();  // the program runs

 private:
  explicit PauseWatchdog(timer_t timer) : timer_(timer), valid_(true) {}
  absl::Status set(absl::Duration limit);

  timer_t timer_;
  bool valid_ = false;  // 0 is a timer too
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_PAUSE_WATCHDOG_H_
