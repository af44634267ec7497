#include "helper/dump/pause_watchdog.h"

#include <signal.h>

#include <cerrno>
#include <utility>

#include "helper/base/errors.h"
#include "helper/base/test_switch.h"

namespace stillpoint {

absl::StatusOr<PauseWatchdog> PauseWatchdog::create() {
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGKILL;
  timer_t timer = {};
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) return errno_status(errno, "timer_create with SIGKILL");
  return PauseWatchdog(timer);
}

PauseWatchdog::PauseWatchdog(PauseWatchdog&& other) noexcept
    : timer_(other.timer_), valid_(std::exchange(other.valid_, false)) {}

PauseWatchdog& PauseWatchdog::operator=(PauseWatchdog&& other) noexcept {
  std::swap(timer_, other.timer_);
  std::swap(valid_, other.valid_);
  return *this;
}

PauseWatchdog::~PauseWatchdog() {
  if (valid_) ::timer_delete(timer_);
}

absl::Status PauseWatchdog::set(absl::Duration limit) {
  itimerspec setting = {};
  setting.it_value = absl::ToTimespec(limit);
  if (::timer_settime(timer_, 0, &setting, nullptr) != 0) return errno_status(errno, "timer_settime of the watchdog");
  return absl::OkStatus();
}

absl::Status PauseWatchdog::allow(absl::Duration limit) { return set(test_pause_limit(limit)); }

absl::Status PauseWatchdog::over() { return set(absl::ZeroDuration()); }

}  // namespace stillpoint
