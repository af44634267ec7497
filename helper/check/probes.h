// The probes, by what they ask about. Each answers for the calling process. Private to this room.
#ifndef STILLPOINT_HELPER_CHECK_PROBES_H_
#define STILLPOINT_HELPER_CHECK_PROBES_H_

#include <string>
#include <vector>

#include "helper/check/probe.h"

namespace stillpoint::check {

// attach_probes.cc: reading another process of the same user.
Probe probe_ptrace_sdk();  // one that named its tracer by PR_SET_PTRACER
Probe probe_ptrace_any();  // one that did not
Probe probe_ptrace_rseq();
Probe probe_pidfd_getfd();
Probe probe_kcmp();
Probe probe_process_vm_readv();

// namespace_probes.cc: getting the same pids and clocks again.
Probe probe_set_tid();         // in the caller's pid namespace
Probe probe_pid_namespace();   // without a user namespace
Probe probe_user_namespace();  // user and pid namespace together
Probe probe_own_proc();        // a /proc of the new namespace, by whichever of the two works
Probe probe_time_namespace();

// memory_probes.cc
Probe probe_set_mm_map();
Probe probe_pagemap_scan();
Probe probe_cgroup_memory();

// storage_probes.cc
Probe probe_openat2();
Probe probe_direct_io(const std::string& directory);

// credential_probes.cc
Probe probe_kernel_version();
Probe probe_capability(int capability);  // CAP_*: in the effective set

// "6.18.44-generic" -> at least major.minor; false for anything that is not a version.
bool kernel_at_least(const std::string& release, int wanted_major, int wanted_minor);

}  // namespace stillpoint::check

#endif  // STILLPOINT_HELPER_CHECK_PROBES_H_
