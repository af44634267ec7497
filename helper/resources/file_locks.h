// Locks and leases that an open file description holds.
#ifndef STILLPOINT_HELPER_RESOURCES_FILE_LOCKS_H_
#define STILLPOINT_HELPER_RESOURCES_FILE_LOCKS_H_

#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// One finding for each "lock:" line of the file's fdinfo: SP-LOCK-FLOCK, SP-LOCK-POSIX, SP-LOCK-OFD, SP-LOCK-LEASE,
// or SP-LOCK for one this release cannot read. The kinds that can be locked call it in their audit.
void audit_file_locks(const OpenFileView& file, Findings& findings);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_FILE_LOCKS_H_
