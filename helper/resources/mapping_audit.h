// Mappings whose memory is not the process's to save.
#ifndef STILLPOINT_HELPER_RESOURCES_MAPPING_AUDIT_H_
#define STILLPOINT_HELPER_RESOURCES_MAPPING_AUDIT_H_

#include <sys/types.h>

#include <vector>

#include "helper/procfs/process_files.h"
#include "helper/resources/finding.h"

namespace stillpoint {

// Asynchronous I/O rings, SysV shared memory, devices, memfd_secret, uprobes, userfaultfd ranges, shadow stacks.
// VmFlags of smaps are used where they are there.
void audit_mappings(pid_t pid, const std::vector<procfs::Mapping>& mappings, Findings& findings);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_MAPPING_AUDIT_H_
