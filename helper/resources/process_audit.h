// What a process is or has, besides its open files, that would make a dump refuse.
#ifndef STILLPOINT_HELPER_RESOURCES_PROCESS_AUDIT_H_
#define STILLPOINT_HELPER_RESOURCES_PROCESS_AUDIT_H_

#include <sys/types.h>

#include <vector>

#include "helper/procfs/process_files.h"
#include "helper/resources/finding.h"

namespace stillpoint {

// Seccomp, shadow stacks, 32-bit code, foreign namespaces and roots, what is shared with other processes, and what
// audit_mappings finds. `mappings` are those of maps or, better, of smaps. What cannot be read is a finding too.
// `tid`: a living thread of the process.
void audit_process(pid_t pid, pid_t tid, const std::vector<procfs::Mapping>& mappings, Findings& findings);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_PROCESS_AUDIT_H_
