// Memory that is shared with processes outside the image would silently become a copy (trap 12 of the design).
#ifndef STILLPOINT_HELPER_DUMP_SHARING_AUDIT_H_
#define STILLPOINT_HELPER_DUMP_SHARING_AUDIT_H_

#include <sys/types.h>

#include <set>

#include "helper/dump/open_files_reader.h"
#include "helper/dump/shared_memory_registry.h"
#include "helper/resources/finding.h"

namespace stillpoint {

// SP-SHARED-MEMORY for every object of the registry that a process outside `tree` maps, as far as the caller may look
// into /proc/*/maps. Reads nothing when there are no such objects.
void audit_sharing(const std::set<pid_t>& tree, const SharedMemoryRegistry& registry, Findings& findings);

// SP-SYSV-SHM for every System V segment that cannot come back; completes the others.
void audit_segments(SharedMemoryRegistry& registry, Findings& findings);

// SP-MAP-DELETED for every deleted file of the registry that a descriptor leads to of which the helper has no copy: the
// others come back as the same memory.
void audit_deleted_files(const OpenFilesReader& files, const SharedMemoryRegistry& registry, Findings& findings);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_SHARING_AUDIT_H_
