// Timers and the signals they have sent, read so that they fit together.
//
// Timers run on while the process stands still. What expires between a look at the timers and a look at the pending
// signals would be in neither, or in both: each is looked at until one look at the signals lies between two at the
// timers in which nothing has expired.
#ifndef STILLPOINT_HELPER_DUMP_TIMERS_READER_H_
#define STILLPOINT_HELPER_DUMP_TIMERS_READER_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "helper/dump/application_calls.h"
#include "helper/model/model.pb.h"

namespace stillpoint {

// Reads the pending signals of the process and of all its threads anew into the model.
using ReadPendingSignals = std::function<absl::Status()>;

// `process` names its POSIX timers already; the time left on them, its interval timers and, by `read_pending`, its
// pending signals are filled in.
absl::Status ask_timers(ApplicationCalls& calls, const ReadPendingSignals& read_pending, model::Process& process);

namespace internal {

struct TimerReading {
  bool posix = false;
  int id = 0;           // ITIMER_*, or the POSIX timer's
  bool silent = false;  // sends no signal
  int64_t interval_ns = 0, value_ns = 0;
};

// True when the timer may have expired between the two readings, `elapsed` apart at most, and its signal is not known
// to be in what was read between them (`signal_read`).
bool may_have_expired(const TimerReading& before, const TimerReading& after, absl::Duration elapsed, bool signal_read);

}  // namespace internal
}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_TIMERS_READER_H_
