// Locks on an open file: flock(2), POSIX, open file description locks. They are dumped, and taken again before the
// program runs: nobody waits for one at a restart.
#ifndef STILLPOINT_HELPER_RESOURCES_FILE_LOCKS_H_
#define STILLPOINT_HELPER_RESOURCES_FILE_LOCKS_H_

#include <fcntl.h>
#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "helper/model/model.pb.h"
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// One finding for each "lock:" line that cannot come back: SP-LOCK-LEASE, or SP-LOCK for one this release cannot read.
void audit_file_locks(const OpenFileView& file, Findings& findings);

// The locks of a tree, gathered from fdinfo of its processes.
class FileLockLedger {
 public:
  // Adds what `file.fdinfo`, which is `pid`'s, shows: POSIX locks that were not seen before, since each process that
  // has the description has its own and shows them with each of its fds; and with `of_description` those of the open
  // file description.
  void add(const OpenFileView& file, pid_t pid, bool of_description, std::vector<model::FileLock>& locks);
  // POSIX locks that the whole system's list ascribes to one of `processes` and that none of its fds has shown.
  void audit(const std::set<pid_t>& processes, Findings& findings) const;

 private:
  std::set<std::string> seen_;
};

// Takes the locks of the restored open file description `fd` again. Those of POSIX are only tried: the process takes
// them itself. FAILED_PRECONDITION, naming file, range and whoever has it, when somebody else has one by now. `proc`:
// the /proc of whoever restarts, which knows processes outside of a pid namespace of the program's own.
absl::Status retake_file_locks(const model::OpenFile& file, int fd, const std::string& proc);

// "a POSIX lock for writing on bytes 0-99"
std::string describe(const model::FileLock& lock);
// As fcntl(2) takes it.
struct ::flock native_lock(const model::FileLock& lock);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_FILE_LOCKS_H_
