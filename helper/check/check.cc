#include "helper/check/check.h"

#include <linux/capability.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "helper/base/test_switch.h"
#include "helper/check/probes.h"

namespace stillpoint {
namespace {

using check::Probe;

struct Row {
  const char* name;  // also the name of its test switch
  std::function<Probe()> probe;
  const char* enables;
  const char* without;
  bool needed_for_restart = false;
};

std::vector<Row> attach_rows() {
  return {
      {"kernel", &check::probe_kernel_version, "everything", "this kernel is refused", true},
      {"ptrace", &check::probe_ptrace_sdk, "checkpoints of programs that link the SDK",
       "no checkpoint: the helper may not attach even where the program allows it"},
      {"ptrace_any", &check::probe_ptrace_any, "stillpoint checkpoint --pid for every program of this user",
       "--pid works for programs that link the SDK, and for others with cap_sys_ptrace"},
      {"ptrace_rseq", &check::probe_ptrace_rseq, "restartable sequences (glibc 2.35 and newer) are carried over",
       "a program that registered one is refused"},
      {"pidfd_getfd", &check::probe_pidfd_getfd, "file descriptors are examined directly",
       "what only a copy of the descriptor tells (pipe contents, socket options) becomes a finding"},
      {"kcmp", &check::probe_kcmp, "shared open file descriptions stay shared",
       "sharing is guessed from /proc; what cannot be told apart is a finding"},
      {"process_vm_readv", &check::probe_process_vm_readv, "fast reading of memory from outside",
       "/proc/PID/mem, slower"},
  };
}

std::vector<Row> restore_rows() {
  return {
      {"clone3_set_tid", &check::probe_set_tid, "restart under the same pids, directly beside other processes",
       "restart in a pid namespace of its own"},
      {"pid_ns", &check::probe_pid_namespace, "restart in a pid namespace without a user namespace",
       "a user namespace is needed too"},
      {"userns", &check::probe_user_namespace, "restart under the same pids without any privilege",
       "restart needs cap_checkpoint_restore or cap_sys_admin"},
      {"own_proc", &check::probe_own_proc, "/proc inside the namespace shows the process's own pids",
       "/proc inside the namespace shows the pids outside"},
      {"set_mm_map", &check::probe_set_mm_map, "heap end, argv and environ come back as they were",
       "no restart: the heap could not grow", true},
      {"time_ns", &check::probe_time_namespace, "CLOCK_MONOTONIC and CLOCK_BOOTTIME go on where they were",
       "they jump to this machine's; the restart says so"},
  };
}

std::vector<Row> data_rows(const std::string& directory) {
  return {
      {"pagemap_scan", &check::probe_pagemap_scan, "populated pages are found fast, holes and guards exactly",
       "/proc/PID/pagemap, slower; zero pages are written too"},
      {"openat2", &check::probe_openat2, "no path below an image leads out of it by a symbolic link",
       "each component is opened by itself"},
      {"direct_io", [directory] { return check::probe_direct_io(directory); }, "images are written past the page cache",
       "images are written through the page cache, slower"},
      {"cgroup_memory", &check::probe_cgroup_memory, "buffers respect the memory limit",
       "a limit, if there is one, is not known in advance"},
  };
}

std::vector<Row> credential_rows() {
  const auto capability = [](int number) { return [number] { return check::probe_capability(number); }; };
  return {
      {"cap_sys_ptrace", capability(CAP_SYS_PTRACE), "non-dumpable programs, and all programs under Yama",
       "dumpable programs of this user only"},
      {"cap_checkpoint_restore", capability(CAP_CHECKPOINT_RESTORE), "same pids and exe link without a namespace",
       "restart in namespaces of its own"},
      {"cap_net_admin", capability(CAP_NET_ADMIN), "socket settings that only an administrator may make",
       "a restart says which could not be set, and refuses where the program needs them"},
      {"cap_sys_admin", capability(CAP_SYS_ADMIN), "namespaces and clocks without a user namespace",
       "they need a user namespace, where those are permitted"},
      {"cap_sys_resource", capability(CAP_SYS_RESOURCE), "hard limits above this process's own come back",
       "hard limits are restored as far as this process's own allow"},
  };
}

Capability run(const Row& row) {
  Probe probe = feature_disabled(row.name) ? check::no("switched off by STILLPOINT_DISABLE") : row.probe();
  return {row.name, probe.available, row.enables, row.without, std::move(probe.detail), row.needed_for_restart};
}

bool available(const std::vector<Capability>& capabilities, absl::string_view name) {
  for (const Capability& capability : capabilities) {
    if (capability.name == name) return capability.available;
  }
  return false;
}

// The one need that there are three ways to meet.
Capability same_pid(const std::vector<Capability>& capabilities) {
  Capability result;
  result.name = "same_pid";
  result.enables = "a process comes back under its own pid";
  result.without = "no restart: give stillpoint-helper cap_checkpoint_restore, or allow user namespaces";
  result.needed_for_restart = true;
  result.available = true;
  if (available(capabilities, "clone3_set_tid")) {
    result.detail = "by clone3 with set_tid";
  } else if (available(capabilities, "pid_ns")) {
    result.detail = "in a pid namespace";
  } else if (available(capabilities, "userns")) {
    result.detail = "in a user and pid namespace";
  } else {
    result.available = false;
    result.detail = "none of clone3_set_tid, pid_ns and userns";
  }
  return result;
}

}  // namespace

std::vector<Capability> check_machine(const std::string& directory) {
  std::vector<Capability> result;
  for (const std::vector<Row>& rows : {attach_rows(), restore_rows(), data_rows(directory), credential_rows()}) {
    for (const Row& row : rows) result.push_back(run(row));
  }
  result.push_back(same_pid(result));
  return result;
}

std::vector<std::string> restart_obstacles(const std::vector<Capability>& capabilities) {
  std::vector<std::string> obstacles;
  for (const Capability& capability : capabilities) {
    if (!capability.needed_for_restart || capability.available) continue;
    obstacles.push_back(absl::StrCat(capability.name, ": ", capability.without, " (", capability.detail, ")"));
  }
  return obstacles;
}

}  // namespace stillpoint
