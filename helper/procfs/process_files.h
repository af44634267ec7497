// Typed readers of /proc/PID. The only code that parses its text, which is
// untrusted: a malformed line is an error that names file and line, never a crash.
#ifndef STILLPOINT_HELPER_PROCFS_PROCESS_FILES_H_
#define STILLPOINT_HELPER_PROCFS_PROCESS_FILES_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace stillpoint::procfs {

// One line of /proc/PID/maps, with what smaps adds when it was read from there.
struct Mapping {
  uint64_t start = 0;
  uint64_t end = 0;
  uint32_t protection = 0;  // PROT_*
  bool shared = false;
  uint64_t offset = 0;
  uint64_t device = 0;  // makedev(major, minor)
  uint64_t inode = 0;
  // path, "[heap]", "/memfd:x (deleted)", "". \012 is undone; a file whose name has those four characters looks the
  // same, and only /proc/PID/map_files tells them apart.
  std::string name;
  std::vector<std::string> vm_flags;  // smaps VmFlags: "rd", "wr", "mr", ...; empty when read from maps
  uint64_t kernel_page_size = 4096;   // smaps KernelPageSize
  uint32_t protection_key = 0;        // smaps ProtectionKey; 0 also where the processor has none
};
// Mappings must ascend; a text in which they do not is ABORTED: it was read from a process that changed meanwhile.
// read_maps and read_smaps then read it again. A process without an address space (a zombie) has no mappings.
absl::StatusOr<std::vector<Mapping>> parse_maps(absl::string_view text);
absl::StatusOr<std::vector<Mapping>> parse_smaps(absl::string_view text);
absl::StatusOr<std::vector<Mapping>> read_maps(pid_t pid);
absl::StatusOr<std::vector<Mapping>> read_smaps(pid_t pid);

// /proc/PID/stat, the fields used here. comm may hold spaces and parentheses.
struct Stat {
  pid_t pid = 0;
  std::string comm;
  char state = '?';
  pid_t parent_pid = 0, process_group = 0, session = 0;
  int controlling_terminal = 0;
  pid_t foreground_group = 0;
  uint64_t flags = 0;  // the kernel's PF_*
  int threads = 0;
  uint64_t start_time_ticks = 0;  // since boot
  uint64_t start_code = 0, end_code = 0, start_stack = 0;
  uint64_t start_data = 0, end_data = 0, start_brk = 0;
  uint64_t arg_start = 0, arg_end = 0, env_start = 0, env_end = 0;
  int exit_signal = 0;  // what the parent gets when it ends
  int exit_code = 0;    // as wait(2) reports it
};
absl::StatusOr<Stat> parse_stat(absl::string_view text);
absl::StatusOr<Stat> read_stat(pid_t pid);             // /proc/PID/stat
absl::StatusOr<Stat> read_stat(pid_t pid, pid_t tid);  // /proc/PID/task/TID/stat

// /proc/PID/task/TID/status.
struct TaskStatus {
  std::string name;
  char state = '?';
  pid_t thread_group = 0, pid = 0, parent_pid = 0, tracer_pid = 0;
  uint32_t uid = 0, euid = 0, suid = 0, fsuid = 0;
  uint32_t gid = 0, egid = 0, sgid = 0, fsgid = 0;
  std::vector<uint32_t> groups;
  uint32_t umask = 0;
  uint64_t pending = 0, shared_pending = 0, blocked = 0, ignored = 0, caught = 0;
  uint64_t cap_inheritable = 0, cap_permitted = 0, cap_effective = 0, cap_bounding = 0, cap_ambient = 0;
  bool no_new_privs = false;
  int seccomp = 0;  // 0 none, 1 strict, 2 filter
  bool thp_enabled = true;
  uint64_t locked_kib = 0;  // VmLck
  uint32_t core_dumping = 0;
  std::vector<pid_t> namespace_pids;  // NSpid: outermost first
  std::string x86_thread_features;    // "shstk wrss"; empty
};
absl::StatusOr<TaskStatus> parse_status(absl::string_view text);
absl::StatusOr<TaskStatus> read_status(pid_t pid, pid_t tid);

// /proc/PID/limits in the order of RLIMIT_*; index is the resource.
struct Limit {
  uint64_t soft = 0, hard = 0;  // ~0: unlimited
};
absl::StatusOr<std::vector<Limit>> parse_limits(absl::string_view text);
absl::StatusOr<std::vector<Limit>> read_limits(pid_t pid);

// /proc/PID/timers.
struct TimerLine {
  int id = 0;
  int signal = 0;
  uint64_t signal_value = 0;
  int notify = 0;  // SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, with SIGEV_THREAD_ID or'ed in
  pid_t notify_pid = 0;
  int clock = 0;
};
absl::StatusOr<std::vector<TimerLine>> parse_timers(absl::string_view text);
absl::StatusOr<std::vector<TimerLine>> read_timers(pid_t pid);

// /proc/PID/mountinfo.
struct Mount {
  int id = 0, parent_id = 0;
  uint64_t device = 0;
  std::string root, mount_point, filesystem, source;
};
absl::StatusOr<std::vector<Mount>> parse_mountinfo(absl::string_view text);
absl::StatusOr<std::vector<Mount>> read_mountinfo(pid_t pid);

// /proc/PID/cgroup.
struct CgroupLine {
  int hierarchy = 0;  // 0: cgroups version 2
  std::vector<std::string> controllers;
  std::string path;
};
absl::StatusOr<std::vector<CgroupLine>> parse_cgroups(absl::string_view text);
absl::StatusOr<std::vector<CgroupLine>> read_cgroups(pid_t pid);

// The number behind `key`, a line's first word: "MemAvailable:" of /proc/meminfo, "inactive_file" of memory.stat.
std::optional<uint64_t> find_field(absl::string_view text, absl::string_view key);

absl::StatusOr<std::vector<pid_t>> read_tids(pid_t pid);      // /proc/PID/task, ascending
absl::StatusOr<std::vector<int>> read_fds(pid_t pid);         // /proc/PID/fd, ascending
absl::StatusOr<std::vector<pid_t>> read_children(pid_t pid);  // of every thread
absl::StatusOr<std::string> read_link(const std::string& path);
absl::StatusOr<std::string> read_text(const std::string& path);
absl::StatusOr<uint64_t> read_namespace_inode(pid_t pid, absl::string_view kind);  // "pid" -> 4026531836

// The kinds of namespaces there are: their names in /proc/PID/ns, their CLONE_NEW* flags.
struct NamespaceKind {
  absl::string_view name;
  int flag;
};
inline constexpr NamespaceKind kNamespaceKinds[] = {
    {"user", 0x10000000}, {"mnt", 0x00020000}, {"pid", 0x20000000},    {"net", 0x40000000},
    {"ipc", 0x08000000},  {"uts", 0x04000000}, {"cgroup", 0x02000000}, {"time", 0x00000080},
};
absl::StatusOr<std::string> read_auxv(pid_t pid);

}  // namespace stillpoint::procfs

#endif  // STILLPOINT_HELPER_PROCFS_PROCESS_FILES_H_
