#include "helper/dump/process_reader.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include <cerrno>
#include <set>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

// Linux: arch/x86 struct kernel_sigaction as rt_sigaction(2) passes it.
struct KernelSigaction {
  uint64_t handler;
  uint64_t flags;
  uint64_t restorer;
  uint64_t mask;
};

absl::StatusOr<int64_t> clock_ns(clockid_t clock) {
  timespec now{};
  if (::clock_gettime(clock, &now) != 0) return errno_status(errno, "clock_gettime");
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

absl::StatusOr<uint64_t> read_number(const std::string& path, int base) {
  ASSIGN_OR_RETURN(const std::string text, procfs::read_text(path));
  const absl::string_view stripped = absl::StripAsciiWhitespace(text);
  uint64_t value = 0;
  int64_t negative = 0;
  if (base == 16 ? absl::SimpleHexAtoi(stripped, &value) : absl::SimpleAtoi(stripped, &value)) return value;
  if (absl::SimpleAtoi(stripped, &negative)) return static_cast<uint64_t>(negative);
  return absl::DataLossError(absl::StrCat(path, " holds no number: ", stripped));
}

absl::Status read_namespaces(pid_t pid, model::Process& out) {
  for (const auto& [kind, flag] : procfs::kNamespaceKinds) {
    const absl::StatusOr<uint64_t> inode = procfs::read_namespace_inode(pid, kind);
    if (absl::IsNotFound(inode.status())) continue;  // kernel without this kind
    RETURN_IF_ERROR(inode.status());
    model::NamespaceId* id = out.add_namespaces();
    id->set_kind(std::string(kind));
    id->set_inode(*inode);
  }
  return absl::OkStatus();
}

absl::Status read_timer_list(pid_t pid, model::Process& out) {
  ASSIGN_OR_RETURN(const std::vector<procfs::TimerLine> timers, procfs::read_timers(pid));
  for (const procfs::TimerLine& line : timers) {
    model::PosixTimer* timer = out.add_posix_timers();
    timer->set_id(line.id);
    timer->set_clock(line.clock);
    timer->set_notify(line.notify);
    timer->set_notify_tid(line.notify_pid);
    timer->set_signal(line.signal);
    timer->set_signal_value(line.signal_value);
  }
  return absl::OkStatus();
}

void take_ids(const procfs::Stat& stat, model::Process& out) {
  out.set_pid(stat.pid);
  out.set_parent_pid(stat.parent_pid);
  out.set_process_group(stat.process_group);
  out.set_session(stat.session);
  out.set_exit_signal(stat.exit_signal);
}

}  // namespace

absl::Status read_zombie(pid_t pid, model::Process& out) {
  ASSIGN_OR_RETURN(const procfs::Stat stat, procfs::read_stat(pid));
  take_ids(stat, out);
  out.set_ended(true);
  out.set_exit_status(stat.exit_code);
  model::Thread& leader = *out.add_threads();
  leader.set_tid(pid);
  leader.set_name(stat.comm);
  return absl::OkStatus();
}

void mark_inherited_groups(model::Tree& tree) {
  std::set<pid_t> pids;
  for (const model::Process& process : tree.processes()) pids.insert(process.pid());
  for (model::Process& process : *tree.mutable_processes()) {
    process.set_inherits_session(!pids.contains(process.session()));
    // The leader of a group that lives on outside is the starter or of its making; one that has gone was the tree's
    // own.
    const pid_t group = process.process_group();
    process.set_inherits_group(process.inherits_session() && !pids.contains(group) && procfs::read_stat(group).ok());
  }
}

absl::Status read_process(pid_t pid, pid_t tid, model::Process& out) {
  ASSIGN_OR_RETURN(const procfs::Stat stat, procfs::read_stat(pid));
  take_ids(stat, out);
  out.set_controlling_terminal(stat.controlling_terminal);
  if (stat.state == 'Z') out.set_leader_exit_code(stat.exit_code >> 8 & 0xff);

  // prlimit(2) would need cap_sys_resource for a process of another user.
  ASSIGN_OR_RETURN(const std::vector<procfs::Limit> limits, procfs::read_limits(tid));
  for (size_t resource = 0; resource < limits.size(); ++resource) {
    model::Rlimit* entry = out.add_rlimits();
    entry->set_resource(static_cast<uint32_t>(resource));
    entry->set_soft(limits[resource].soft);
    entry->set_hard(limits[resource].hard);
  }
  const std::string proc = absl::StrCat("/proc/", tid);
  ASSIGN_OR_RETURN(const uint64_t personality, read_number(proc + "/personality", 16));
  out.set_personality(static_cast<uint32_t>(personality));
  ASSIGN_OR_RETURN(const uint64_t oom_score_adj, read_number(proc + "/oom_score_adj", 10));
  out.set_oom_score_adj(static_cast<int32_t>(oom_score_adj));
  ASSIGN_OR_RETURN(const std::string cgroup, procfs::read_text(proc + "/cgroup"));
  out.set_cgroup(cgroup);
  RETURN_IF_ERROR(read_namespaces(tid, out));
  return read_timer_list(tid, out);
}

absl::Status read_filesystem_context(pid_t pid, pid_t tid, model::FilesystemContext& out) {
  const std::string proc = absl::StrCat("/proc/", pid, "/task/", tid);
  ASSIGN_OR_RETURN(const std::string directory, procfs::read_link(proc + "/cwd"));
  ASSIGN_OR_RETURN(const std::string root, procfs::read_link(proc + "/root"));
  ASSIGN_OR_RETURN(const procfs::TaskStatus status, procfs::read_status(pid, tid));
  out.set_working_directory(directory);
  out.set_root(root);
  out.set_umask(status.umask);
  return absl::OkStatus();
}

absl::Status read_clocks(model::Clocks& out) {
  ASSIGN_OR_RETURN(const int64_t realtime, clock_ns(CLOCK_REALTIME));
  ASSIGN_OR_RETURN(const int64_t monotonic, clock_ns(CLOCK_MONOTONIC));
  ASSIGN_OR_RETURN(const int64_t boottime, clock_ns(CLOCK_BOOTTIME));
  out.set_realtime_ns(realtime);
  out.set_monotonic_ns(monotonic);
  out.set_boottime_ns(boottime);
  return absl::OkStatus();
}

absl::Status ask_process(ApplicationCalls& calls, model::Process& out) {
  const uint64_t scratch = calls.scratch();
  ASSIGN_OR_RETURN(const int subreaper,
                   calls.fetch<int>("prctl(PR_GET_CHILD_SUBREAPER)", SYS_prctl, {PR_GET_CHILD_SUBREAPER, scratch}));
  out.set_child_subreaper(subreaper != 0);
  return absl::OkStatus();
}

absl::Status ask_signal_actions(ApplicationCalls& calls, model::SignalTable& out) {
  ASSIGN_OR_RETURN(const procfs::TaskStatus status, procfs::read_status(calls.tid(), calls.tid()));
  const uint64_t interesting = status.caught | status.ignored;
  for (int signal = 1; signal <= 64; ++signal) {
    if ((interesting >> (signal - 1) & 1) == 0) continue;
    ASSIGN_OR_RETURN(const KernelSigaction action,
                     calls.fetch<KernelSigaction>("rt_sigaction", SYS_rt_sigaction,
                                                  {static_cast<uint64_t>(signal), 0, calls.scratch(), 8}));
    model::SignalAction* entry = out.add_actions();
    entry->set_signal(signal);
    entry->set_action(std::string(reinterpret_cast<const char*>(&action), sizeof action));
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
