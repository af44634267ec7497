#include "tools/supervised_run.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "tools/console.h"
#include "tools/duration.h"

namespace stillpoint::tools {

absl::Status SupervisedRun::arm_timer() {
  if (options_.every == absl::ZeroDuration()) return absl::OkStatus();
  timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_.valid()) return errno_status(errno, "timerfd_create");
  itimerspec timing = {};
  timing.it_value = absl::ToTimespec(options_.every);
  timing.it_interval = timing.it_value;
  if (::timerfd_settime(timer_.get(), 0, &timing, nullptr) != 0) return errno_status(errno, "timerfd_settime");
  supervisor_.watch(timer_.get(), [this] { timer_expired(); });
  return absl::OkStatus();
}

void SupervisedRun::timer_expired() {
  uint64_t expirations = 0;
  if (::read(timer_.get(), &expirations, sizeof expirations) != sizeof expirations) return;
  if (job_) {
    say(absl::StrCat("the last checkpoint still goes on after ", absl::FormatDuration(options_.every),
                     "; the one due now is left out"));
    return;
  }
  checkpoint_wanted_ = true;
}

bool SupervisedRun::take_signal(int signal_number) {
  if (signal_number == options_.stop_on_signal) {
    stop_wanted_ = true;
  } else if (signal_number == options_.on_signal) {
    checkpoint_wanted_ = true;
  } else {
    return false;
  }
  say(absl::StrCat(signal_name(signal_number), ": checkpoint of pid ", supervisor_.program().pid, " begins"));
  return true;
}

void SupervisedRun::begin(bool stop) {
  CheckpointRequestOptions request;
  request.pid = supervisor_.program().pid;
  request.directory = options_.directory;
  request.stop = stop;
  request.embed = options_.embed;
  request.keep_last = options_.keep_last;
  request.wait = options_.wait;
  if (request.wait == absl::ZeroDuration()) {
    request.wait = options_.every > absl::ZeroDuration() ? options_.every : absl::Minutes(1);
  }
  absl::StatusOr<CheckpointJob> job = CheckpointJob::start(request);
  if (job.ok()) {
    job_ = *std::move(job);
  } else {
    say(failure_line(job.status()));
  }
}

void SupervisedRun::look_after_job() {
  if (job_) {
    const std::optional<bool> succeeded = job_->poll();
    if (!succeeded) return;
    // The program was killed, or has been told to end itself: it need not be over yet.
    if (job_->stops_program() && *succeeded) stopped_by_checkpoint_ = true;
    job_.reset();
  }
  if (!stop_wanted_ && !checkpoint_wanted_) return;
  const bool stop = std::exchange(stop_wanted_, false);
  checkpoint_wanted_ = false;
  begin(stop);
}

absl::StatusOr<int> SupervisedRun::wait() {
  RETURN_IF_ERROR(arm_timer());
  supervisor_.intercept([this](int signal_number) { return take_signal(signal_number); });
  supervisor_.after_events([this] { look_after_job(); });
  ASSIGN_OR_RETURN(const int status, supervisor_.wait());
  if (job_) {
    // The pages are written from the snapshot: an image whose program has ended meanwhile is worth waiting for, until
    // somebody wants us to end.
    const bool stops = job_->stops_program();
    const bool succeeded = job_->wait(inbox_.ending_fd());
    if (stops && succeeded) stopped_by_checkpoint_ = true;
  }
  return status;
}

}  // namespace stillpoint::tools
