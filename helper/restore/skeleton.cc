#include "helper/restore/skeleton.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/restore/task.h"

namespace stillpoint {
namespace {

constexpr absl::Duration kReportLimit = absl::Seconds(30);  // without any news

enum Step : int { kWaiting, kCloned, kSetSid, kPrctl };

// The raw call: everything in a new task must be async-signal-safe, and small.
long clone_process(pid_t pid, int exit_signal) {
  clone_args arguments{};
  arguments.exit_signal = static_cast<uint64_t>(exit_signal);
  arguments.set_tid = reinterpret_cast<uint64_t>(&pid);
  arguments.set_tid_size = 1;
  const long result = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  return result < 0 ? -errno : result;
}

absl::Status make_pipe(UniqueFd& reader, UniqueFd& writer) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_status(errno, "pipe2");
  reader.reset(ends[0]);
  writer.reset(ends[1]);
  return absl::OkStatus();
}

}  // namespace

struct Skeleton::Report {
  int birth;
  int step;
  int error;
};

void Skeleton::report(int birth, int step, int error) const {
  const Report report = {birth, step, error};
  // Shorter than PIPE_BUF: whole or not at all. A reader that is gone wants nothing any more.
  if (::write(report_writer_.get(), &report, sizeof report) != sizeof report) ::_exit(125);
}

void Skeleton::fail(int birth, int step, int error) const {
  report(birth, step, error);
  ::_exit(125);
}

void Skeleton::clone_children(const std::vector<int>& children) const {
  for (const int child : children) {
    const model::Birth& born = plan_.births[static_cast<size_t>(child)];
    const long result = clone_process(born.pid, born.exit_signal);
    if (result == 0) live(child);
    if (result < 0) fail(child, kCloned, static_cast<int>(-result));
  }
}

void Skeleton::live(int birth) const {
  const model::Birth& born = plan_.births[static_cast<size_t>(birth)];
  // A task that is not to live on is never traced: it must not outlive its parent, which is.
  if (birth != 0 && ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) fail(birth, kPrctl, errno);
  clone_children(born.before);
  if (born.new_session && ::setsid() < 0) fail(birth, kSetSid, errno);
  clone_children(born.after);
  ::close(go_writer_.get());
  report(birth, kWaiting, 0);
  ::close(report_writer_.get());
  char byte = 0;
  ssize_t n;
  do {
    n = ::read(go_reader_.get(), &byte, 1);
  } while (n < 0 && errno == EINTR);
  if (n != 1) ::_exit(125);
  sessions_[static_cast<size_t>(birth)].enter();
}

absl::Status Skeleton::clone(unsigned long long flags) {
  RETURN_IF_ERROR(make_pipe(go_reader_, go_writer_));
  RETURN_IF_ERROR(make_pipe(report_reader_, report_writer_));
  const model::Birth& root = plan_.births.front();
  RETURN_IF_ERROR(clone_task(root.pid, root.exit_signal, flags, [this] { live(0); }).status());
  report_writer_.reset();
  return receive_reports();
}

absl::Status Skeleton::receive_reports() const {
  for (size_t waiting = 0; waiting < plan_.births.size();) {
    pollfd readable = {report_reader_.get(), POLLIN, 0};
    const int ready = ::poll(&readable, 1, static_cast<int>(absl::ToInt64Milliseconds(kReportLimit)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return errno_status(errno, "poll");
    if (ready == 0) return absl::DeadlineExceededError("the new processes do not come up");
    Report report{};
    const ssize_t n = ::read(report_reader_.get(), &report, sizeof report);
    if (n < 0 && errno == EINTR) continue;
    if (n != sizeof report || report.birth < 0 || static_cast<size_t>(report.birth) >= plan_.births.size()) {
      return absl::UnavailableError("a new process died before the tree was complete");
    }
    const pid_t pid = plan_.births[static_cast<size_t>(report.birth)].pid;
    if (report.step == kCloned) return errno_status(report.error, absl::StrCat("clone3 with pid ", pid));
    if (report.step == kSetSid) return errno_status(report.error, absl::StrCat("setsid of pid ", pid));
    if (report.step == kPrctl) return errno_status(report.error, absl::StrCat("prctl(PR_SET_PDEATHSIG) of pid ", pid));
    ++waiting;
  }
  return absl::OkStatus();
}

absl::Status Skeleton::release() {
  const std::string bytes(plan_.births.size(), 'g');
  go_reader_.reset();
  return write_all(go_writer_.get(), bytes, "the new processes' pipe");
}

}  // namespace stillpoint
