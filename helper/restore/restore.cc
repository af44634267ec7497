#include "helper/restore/restore.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/image/image.h"
#include "helper/model/model.pb.h"
#include "helper/protocol/context.h"
#include "helper/resources/sysv_segment.h"
#include "helper/restore/credentials.h"
#include "helper/restore/identity.h"
#include "helper/restore/namespace_init.h"
#include "helper/restore/task.h"
#include "helper/restore/tree_builder.h"
#include "helper/restore/validate.h"

namespace stillpoint {
namespace {

struct Plan {
  const RestoreOptions& options;
  const image::ImageReader& image;
  const model::Tree& tree;
  CallerCredentials caller;
  std::vector<std::string> notes;
  bool own_namespace = false;
};

bool clocks_jumped(const std::vector<std::string>& notes) {
  return std::any_of(notes.begin(), notes.end(),
                     [](const std::string& note) { return absl::StrContains(note, "CLOCK_MONOTONIC"); });
}

// From nothing to the running processes. `flags`: CLONE_PARENT or 0.
absl::StatusOr<UniqueFd> build(Plan& plan, unsigned long long flags) {
  TreeBuilder builder(plan.image, plan.tree, plan.options, plan.caller, plan.notes);
  RETURN_IF_ERROR(builder.open_files());
  RETURN_IF_ERROR(builder.clone(flags));
  RETURN_IF_ERROR(builder.build());
  UniqueFd pidfd(::fcntl(builder.root_pidfd().get(), F_DUPFD_CLOEXEC, 0));
  if (!pidfd.valid()) return errno_status(errno, "duplicate of the pidfd");
  uint32_t info = plan.own_namespace ? protocol::kRestoredInOwnNamespace : 0u;
  if (clocks_jumped(plan.notes)) info |= protocol::kRestoredClocksJumped;
  RETURN_IF_ERROR(builder.start(info));
  return pidfd;
}

absl::StatusOr<RestoreResult> restore_here(Plan& plan, bool as_sibling) {
  continue_clocks(plan.tree.clocks(), plan.notes);
  RestoreResult result;
  ASSIGN_OR_RETURN(result.pidfd, build(plan, as_sibling ? CLONE_PARENT : 0));
  result.pid = result.inner_pid = result.child_pid = plan.tree.processes(0).pid();
  result.notes = std::move(plan.notes);
  return result;
}

[[noreturn]] void restore_as_init(Plan& plan, UniqueFd socket, UniqueFd status_pipe) {
  InitReport report;
  report.status = [&] {
    RETURN_IF_ERROR(enter_as_init(plan.notes));
    const bool user_namespace = plan.caller.own_user_namespace;
    ASSIGN_OR_RETURN(plan.caller, read_caller_credentials());
    plan.caller.own_user_namespace = user_namespace;
    ASSIGN_OR_RETURN(report.pidfd, build(plan, 0));
    return absl::OkStatus();
  }();
  report.notes = plan.notes;
  const bool ok = report.status.ok();
  if (!send_report(socket.get(), report).ok() || !ok) ::_exit(125);
  run_as_init(plan.tree.processes(0).pid(), std::move(status_pipe));
}

absl::StatusOr<RestoreResult> restore_in_namespace(Plan& plan, bool as_sibling) {
  plan.own_namespace = true;
  ASSIGN_OR_RETURN(const NamespaceChoice choice, unshare_identity(has_sysv_segments(plan.tree)));
  plan.caller.own_user_namespace = choice.user;
  if (choice.user) {
    if (has_sysv_segments(plan.tree)) {
      plan.notes.emplace_back(
          "System V memory is in an IPC namespace of its own: processes outside of it cannot attach it, and semaphores "
          "and message queues of the system are not seen in it");
    }
    plan.notes.emplace_back(
        "restored in a user namespace: supplementary groups and files of other owners are not as before");
    RETURN_IF_ERROR(check_credentials(plan.tree, plan.caller));
  }
  continue_clocks(plan.tree.clocks(), plan.notes);
  int sockets[2], status[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return errno_status(errno, "socketpair");
  UniqueFd ours(sockets[0]), theirs(sockets[1]);
  if (::pipe2(status, O_CLOEXEC) != 0) return errno_status(errno, "pipe2");
  UniqueFd reader(status[0]), writer(status[1]);
  RestoreResult result;
  ASSIGN_OR_RETURN(result.child_pid, clone_task(0, SIGCHLD, as_sibling ? CLONE_PARENT : 0, [&] {
                     ours.reset();
                     reader.reset();
                     restore_as_init(plan, std::move(theirs), std::move(writer));
                   }));
  theirs.reset();
  writer.reset();
  absl::StatusOr<InitReport> report = receive_report(ours.get());
  const absl::Status failure = !report.ok() ? report.status() : report->status;
  if (!failure.ok()) {
    // As our own child it is ours to reap; as our sibling its end is seen by our parent.
    if (!as_sibling) ::waitpid(result.child_pid, nullptr, 0);
    return failure;
  }
  result.pidfd = std::move(report->pidfd);
  result.notes = std::move(report->notes);
  result.status_pipe = std::move(reader);
  result.own_namespace = true;
  result.inner_pid = plan.tree.processes(0).pid();
  ASSIGN_OR_RETURN(result.pid, pid_of_pidfd(result.pidfd.get()));
  if (result.pid <= 0) result.pid = result.child_pid;  // it has ended already; its init stands for it
  return result;
}

}  // namespace

absl::StatusOr<RestoreResult> restore(const RestoreOptions& the_options, int image_fd, bool as_sibling) {
  RestoreOptions options = the_options;
  const UniqueFd proc(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (proc.valid()) options.proc = absl::StrCat("/proc/self/fd/", proc.get());
  ASSIGN_OR_RETURN(const image::ImageReader image, image::ImageReader::from_fd(image_fd, options.image_name));
  ASSIGN_OR_RETURN(const std::string state, image.read_file(image::kStateName));
  model::Tree tree;
  if (!tree.ParseFromString(state)) return absl::DataLossError("state.pb is malformed");
  RETURN_IF_ERROR(validate(tree, image.manifest()));
  RETURN_IF_ERROR(check_cpu(image.manifest()));
  ASSIGN_OR_RETURN(CallerCredentials caller, read_caller_credentials());
  RETURN_IF_ERROR(check_credentials(tree, caller));

  Plan plan{options, image, tree, std::move(caller), {}, false};
  const absl::Status here = options.new_namespace ? absl::CancelledError("asked for") : pids_available(tree);
  if (here.ok()) return restore_here(plan, as_sibling);
  if (!options.new_namespace) {
    plan.notes.push_back(absl::StrCat("restored in a pid namespace of its own: ", here.message()));
  }
  return restore_in_namespace(plan, as_sibling);
}

}  // namespace stillpoint
