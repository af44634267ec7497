#include "tools/checkpoint_job.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/unique_fd.h"
#include "tools/child_process.h"
#include "tools/console.h"
#include "tools/exit_codes.h"

namespace stillpoint::tools {
namespace {

[[noreturn]] void run_job(const CheckpointRequestOptions& options, pid_t supervisor) {
  // Without its supervisor nobody could end a job that hangs. The program is not touched by that.
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != supervisor) ::_exit(kFailed);
  const absl::StatusOr<CheckpointReport> report = checkpoint_process(options);
  if (!report.ok()) {
    // A program that came to its end just then is no failure to be told of as one.
    const bool ended = !require_process(options.pid).ok();
    say(ended ? absl::StrCat("no checkpoint: pid ", options.pid, " ended just then") : failure_line(report.status()));
    ::_exit(kFailed);
  }
  for (const std::string& note : report->notes) say(absl::StrCat("note: ", printable(note)));
  say(describe(*report, options.pid));
  ::_exit(kSuccess);
}

}  // namespace

std::string failure_line(const absl::Status& status) {
  const protocol::FindingList findings = findings_in(status);
  std::string line = absl::StrCat("checkpoint failed, the program runs on: ", status.message());
  if (findings.findings_size() > 0) {
    line = absl::StrCat("checkpoint refused, the program runs on: ", findings.findings_size(),
                        findings.findings_size() == 1 ? " finding" : " findings");
  }
  for (const protocol::Finding& finding : findings.findings()) {
    absl::StrAppend(&line, "; ", finding.code(), " ", finding.object(), ": ", finding.reason(),
                    " (remedy: ", finding.remedy(), ")");
  }
  return printable(absl::StrReplaceAll(line, {{"\n", " "}}));
}

absl::StatusOr<CheckpointJob> CheckpointJob::start(const CheckpointRequestOptions& options) {
  const pid_t supervisor = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return errno_status(errno, "fork of the checkpoint job");
  if (pid == 0) run_job(options, supervisor);
  return CheckpointJob(pid, options.stop);
}

CheckpointJob::CheckpointJob(CheckpointJob&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), stops_program_(other.stops_program_) {}

CheckpointJob& CheckpointJob::operator=(CheckpointJob&& other) noexcept {
  kill();
  pid_ = std::exchange(other.pid_, 0);
  stops_program_ = other.stops_program_;
  return *this;
}

CheckpointJob::~CheckpointJob() { kill(); }

void CheckpointJob::kill() {
  if (pid_ == 0) return;
  (void)::kill(pid_, SIGKILL);
  (void)wait_for(pid_, absl::InfiniteFuture());
  pid_ = 0;
}

std::optional<bool> CheckpointJob::poll() {
  const absl::StatusOr<int> status = wait_for(pid_, absl::Now());
  if (absl::IsDeadlineExceeded(status.status())) return std::nullopt;
  pid_ = 0;
  return status.ok() && WIFEXITED(*status) && WEXITSTATUS(*status) == kSuccess;
}

bool CheckpointJob::wait(int interruption_fd) {
  const UniqueFd pidfd(sys_pidfd_open(pid_, 0));
  for (;;) {
    if (const std::optional<bool> ended = this->poll()) return *ended;
    // Without a pidfd the end is not seen but looked for.
    pollfd events[2] = {{pidfd.get(), POLLIN, 0}, {interruption_fd, POLLIN, 0}};
    if (::poll(events, 2, pidfd.valid() ? -1 : 50) > 0 && events[1].revents != 0) return false;
  }
}

}  // namespace stillpoint::tools
