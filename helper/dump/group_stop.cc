#include "helper/dump/group_stop.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/model/pending_signal.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

constexpr uint64_t bit(int signal) { return uint64_t{1} << (signal - 1); }

// A thread that queued SIGSTOP for itself while it is built would stop then and there.
template <typename T>
void take_out_stops(T& of) {
  auto& pending = *of.mutable_pending_signals();
  const auto kept = std::remove_if(pending.begin(), pending.end(), [](const model::PendingSignal& signal) {
    return model::signal_number(signal) == SIGSTOP;
  });
  pending.erase(kept, pending.end());
}

}  // namespace

bool group_stopped(FrozenProcess& process) {
  const std::vector<Thread>& threads = process.threads();
  return std::any_of(threads.begin(), threads.end(), [](const Thread& thread) { return thread.group_stopped(); });
}

void enter_group_stop(bool stopped, model::Process& process) {
  uint64_t pending = model::pending_set(process);
  take_out_stops(process);
  for (model::Thread& thread : *process.mutable_threads()) {
    pending |= model::pending_set(thread);
    take_out_stops(thread);
  }
  // Either signal, when it is sent, takes the other out of the queues.
  process.set_stopped((stopped || (pending & bit(SIGSTOP)) != 0) && (pending & bit(SIGCONT)) == 0);
  process.set_stop_to_come(process.stopped() && !stopped);
}

absl::Status ask_unreported(ApplicationCalls& parent, model::Process& process) {
  constexpr uint64_t kAsking = WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT | __WALL;
  ASSIGN_OR_RETURN(const siginfo_t info, parent.fetch<siginfo_t>("waitid", SYS_waitid,
                                                                 {P_PID, static_cast<uint64_t>(process.pid()),
                                                                  parent.scratch(), kAsking, 0}));
  if (info.si_pid == 0) return absl::OkStatus();
  process.set_stop_unreported(info.si_code == CLD_STOPPED);
  process.set_continue_unreported(info.si_code == CLD_CONTINUED);
  return absl::OkStatus();
}

absl::Status wait_until_continued(pid_t pid, absl::Time deadline) {
  for (;;) {
    ASSIGN_OR_RETURN(const procfs::Stat stat, procfs::read_stat(pid));
    if (stat.state != 'T') return absl::OkStatus();
    if (absl::Now() >= deadline) {
      return absl::FailedPreconditionError(
          absl::StrCat("pid ", pid, " is stopped (SIGSTOP, SIGTSTP), and its own thread with it: nothing was saved; ",
                       "SIGCONT lets it go on"));
    }
    absl::SleepFor(absl::Milliseconds(10));
  }
}

}  // namespace stillpoint
