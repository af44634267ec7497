#include "helper/dump/snapshot.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

constexpr absl::Duration kStopLimit = absl::Seconds(10);
constexpr unsigned kFollowForks = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;

// The application would become the parent of an orphaned grandchild.
absl::Status check_not_adopting(pid_t application, RemoteCalls& calls) {
  ASSIGN_OR_RETURN(const procfs::TaskStatus status, procfs::read_status(application, application));
  if (!status.namespace_pids.empty() && status.namespace_pids.back() == 1) {
    return absl::UnimplementedError("the application is pid 1 of its namespace: a snapshot would become its child");
  }
  RETURN_IF_ERROR(
      calls.checked_call("prctl(PR_GET_CHILD_SUBREAPER)", SYS_prctl, {PR_GET_CHILD_SUBREAPER, calls.scratch()})
          .status());
  int subreaper = 0;
  RETURN_IF_ERROR(read_memory(application, calls.scratch(), &subreaper, sizeof subreaper));
  if (subreaper != 0) {
    return absl::UnimplementedError("the application is a child subreaper: a snapshot would become its child");
  }
  return absl::OkStatus();
}

// A new task that is traced by us from birth.
absl::StatusOr<Thread> take_over(pid_t pid, unsigned options) {
  Thread thread = Thread::adopt(pid, options);
  RETURN_IF_ERROR(thread.wait_stopped(absl::Now() + kStopLimit));
  return thread;
}

// The one in between shares the memory, so only the snapshot's fork copies page tables. It is let go at the end,
// whatever comes of it: returning from its clone it finds exit_group on its stack, and so does the snapshot, should we
// die before it is isolated.
absl::StatusOr<Thread> fork_in_between(pid_t between_pid, unsigned options, const CodeGadgets& gadgets) {
  ASSIGN_OR_RETURN(Thread between, take_over(between_pid, options));
  absl::StatusOr<Thread> copy = absl::InternalError("not cloned");
  {
    ASSIGN_OR_RETURN(RemoteCalls calls, RemoteCalls::begin(between, between_pid, gadgets));
    ASSIGN_OR_RETURN(const uint64_t result, calls.checked_call("clone", SYS_clone, {CLONE_FILES, 0, 0, 0, 0}));
    copy = take_over(calls.last_child() != 0 ? calls.last_child() : static_cast<pid_t>(result), between.options());
    RETURN_IF_ERROR(copy.status());
    die_if_stage("snapshot-forked");
  }
  RETURN_IF_ERROR(between.detach());
  return copy;
}

}  // namespace

absl::StatusOr<Snapshot> Snapshot::fork_by_sdk(SdkThreadConnection& sdk, const CodeGadgets& gadgets) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return errno_status(errno, "socketpair");
  const UniqueFd ours(ends[0]);  // its end makes the snapshot exit, should we die before it is traced
  ASSIGN_OR_RETURN(const pid_t pid, sdk.fork_snapshot(UniqueFd(ends[1])));
  die_if_stage("snapshot-forked");
  ASSIGN_OR_RETURN(Thread thread, Thread::seize(pid, PTRACE_O_EXITKILL));
  RETURN_IF_ERROR(thread.interrupt());
  RETURN_IF_ERROR(thread.wait_stopped(absl::Now() + kStopLimit));
  Snapshot snapshot(std::move(thread));
  RETURN_IF_ERROR(snapshot.isolate(gadgets));
  return snapshot;
}

absl::StatusOr<Snapshot> Snapshot::fork_by_remote_calls(pid_t application, Thread& thread, RemoteCalls& calls,
                                                        const CodeGadgets& gadgets) {
  RETURN_IF_ERROR(check_not_adopting(application, calls));
  const unsigned options = thread.options();
  RETURN_IF_ERROR(thread.set_options(options | kFollowForks));
  ASSIGN_OR_RETURN(const pid_t between, calls.start_intermediate());
  absl::StatusOr<Thread> copy = fork_in_between(between, thread.options(), gadgets);
  const absl::Status finished = calls.finish_intermediate();
  RETURN_IF_ERROR(copy.status());
  Snapshot snapshot(*std::move(copy));
  RETURN_IF_ERROR(finished);
  RETURN_IF_ERROR(thread.set_options(options));
  RETURN_IF_ERROR(snapshot.isolate(gadgets));
  return snapshot;
}

absl::Status Snapshot::isolate(const CodeGadgets& gadgets) {
  RETURN_IF_ERROR(thread_->set_options(PTRACE_O_EXITKILL));
  ASSIGN_OR_RETURN(RemoteCalls calls, RemoteCalls::begin(*thread_, pid(), gadgets));
  // By itself: for a process of another user we would need CAP_SYS_RESOURCE.
  const rlimit no_core = {0, 0};
  RETURN_IF_ERROR(write_memory(pid(), calls.scratch(), &no_core, sizeof no_core));
  RETURN_IF_ERROR(
      calls.checked_call("prlimit(RLIMIT_CORE)", SYS_prlimit64, {0, RLIMIT_CORE, calls.scratch(), 0}).status());
  RETURN_IF_ERROR(calls.checked_call("close_range", SYS_close_range, {0, ~0u, CLOSE_RANGE_UNSHARE}).status());
  // Out of the application's process group: no signal of its terminal, and a zombie that a slow init has not reaped
  // yet holds no id that a restart needs.
  RETURN_IF_ERROR(calls.checked_call("setsid", SYS_setsid, {}).status());
  return calls.end();
}

Snapshot::~Snapshot() {
  if (!thread_.has_value() || thread_->tid() == 0) return;
  const pid_t pid = thread_->tid();
  ::kill(pid, SIGKILL);
  thread_->forget();
  // As its tracer we see its end first; its parent, init, sees it after us.
  while (::waitpid(pid, nullptr, __WALL) < 0 && errno == EINTR) {
  }
}

}  // namespace stillpoint
