#include "helper/dump/timers_reader.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <cstddef>
#include <vector>

#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/nanoseconds.h"
#include "helper/model/pending_signal.h"

namespace stillpoint {
namespace internal {

bool may_have_expired(const TimerReading& before, const TimerReading& after, absl::Duration elapsed, bool signal_read) {
  if (before.value_ns == 0 || after.silent) return false;
  // The kernel shows its smallest unit for a timer that is due and whose interrupt has not ended.
  const int64_t due = after.posix ? 1 : 1000;
  if (after.value_ns == due) return true;
  // Also a periodic ITIMER_REAL stands at 0 until its signal is taken.
  if (after.value_ns == 0) return true;
  if (after.interval_ns == 0 || !after.posix) return false;
  // A periodic one goes on counting. Once its signal waits, later expirations are its overruns.
  if (signal_read) return false;
  return after.value_ns > before.value_ns || elapsed >= absl::Nanoseconds(after.interval_ns);
}

}  // namespace internal

namespace {

using internal::TimerReading;

struct Reading {
  absl::Time begun;
  std::vector<TimerReading> timers;
};

// Every one-shot timer changes at most once. Periodic ones whose signal is ignored never come to rest: there is
// nothing to lose.
constexpr int kMoreRounds = 8;
constexpr int kIntervalTimers[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};

absl::StatusOr<Reading> read_timers(ApplicationCalls& calls, const model::Process& process) {
  const uint64_t scratch = calls.scratch();
  Reading reading;
  reading.begun = absl::Now();
  for (const int which : kIntervalTimers) {
    ASSIGN_OR_RETURN(const itimerval timer,
                     calls.fetch<itimerval>("getitimer", SYS_getitimer, {static_cast<uint64_t>(which), scratch}));
    reading.timers.push_back({.posix = false,
                              .id = which,
                              .silent = false,
                              .interval_ns = to_nanoseconds(timer.it_interval),
                              .value_ns = to_nanoseconds(timer.it_value)});
  }
  for (const model::PosixTimer& timer : process.posix_timers()) {
    ASSIGN_OR_RETURN(const itimerspec left, calls.fetch<itimerspec>("timer_gettime", SYS_timer_gettime,
                                                                    {static_cast<uint64_t>(timer.id()), scratch}));
    reading.timers.push_back({.posix = true,
                              .id = timer.id(),
                              .silent = (timer.notify() & ~SIGEV_THREAD_ID) == SIGEV_NONE,
                              .interval_ns = to_nanoseconds(left.it_interval),
                              .value_ns = to_nanoseconds(left.it_value)});
  }
  return reading;
}

bool any_armed(const Reading& reading) {
  for (const TimerReading& timer : reading.timers) {
    if (timer.value_ns != 0) return true;
  }
  return false;
}

template <typename T>
bool holds_signal_of(int timer, const T& queue) {
  for (const model::PendingSignal& pending : queue.pending_signals()) {
    if (model::timer_of(pending) == timer) return true;
  }
  return false;
}

bool signal_read(const TimerReading& timer, const model::Process& process) {
  if (!timer.posix) return false;
  if (holds_signal_of(timer.id, process)) return true;
  for (const model::Thread& thread : process.threads()) {
    if (holds_signal_of(timer.id, thread)) return true;
  }
  return false;
}

bool any_expired(const Reading& before, const Reading& after, const model::Process& process) {
  const absl::Duration elapsed = absl::Now() - before.begun;
  for (size_t i = 0; i < before.timers.size(); ++i) {
    const TimerReading& timer = after.timers[i];
    if (internal::may_have_expired(before.timers[i], timer, elapsed, signal_read(timer, process))) return true;
  }
  return false;
}

void enter(const Reading& reading, model::Process& process) {
  int posix = 0;
  for (const TimerReading& timer : reading.timers) {
    if (timer.posix) {
      model::PosixTimer& out = *process.mutable_posix_timers(posix++);
      out.set_interval_ns(timer.interval_ns);
      out.set_value_ns(timer.value_ns);
      continue;
    }
    // A periodic ITIMER_REAL whose SIGALRM still waits reads as 0: the kernel arms it again when the signal is taken.
    const int64_t value = timer.value_ns != 0 ? timer.value_ns : timer.interval_ns;
    if (value == 0) continue;
    model::IntervalTimer& out = *process.add_interval_timers();
    out.set_which(static_cast<uint32_t>(timer.id));
    out.set_interval_us(static_cast<uint64_t>(timer.interval_ns / 1000));
    out.set_value_us(static_cast<uint64_t>(value / 1000));
  }
}

}  // namespace

absl::Status ask_timers(ApplicationCalls& calls, const ReadPendingSignals& read_pending, model::Process& process) {
  ASSIGN_OR_RETURN(Reading reading, read_timers(calls, process));
  RETURN_IF_ERROR(read_pending());
  const int rounds = any_armed(reading) ? process.posix_timers_size() + kMoreRounds : 0;
  for (int round = 0; round < rounds; ++round) {
    ASSIGN_OR_RETURN(Reading again, read_timers(calls, process));
    const bool settled = !any_expired(reading, again, process);
    reading = std::move(again);
    if (settled) break;
    RETURN_IF_ERROR(read_pending());
  }
  enter(reading, process);
  for (model::PosixTimer& timer : *process.mutable_posix_timers()) {
    ASSIGN_OR_RETURN(const int64_t overrun,
                     calls.checked("timer_getoverrun", SYS_timer_getoverrun, {static_cast<uint64_t>(timer.id())}));
    timer.set_overrun(static_cast<int32_t>(overrun));
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
