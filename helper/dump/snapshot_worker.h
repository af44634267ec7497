// The worker of helper/memory, installed in a snapshot.
#ifndef STILLPOINT_HELPER_DUMP_SNAPSHOT_WORKER_H_
#define STILLPOINT_HELPER_DUMP_SNAPSHOT_WORKER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "helper/dump/snapshot.h"
#include "helper/memory/worker_session.h"
#include "helper/procfs/process_files.h"
#include "helper/tracee/remote_call.h"

namespace stillpoint {

struct SnapshotWorker {
  WorkerSession session;
  std::vector<int> fds;  // the numbers in the snapshot of the fds that were passed
};

// Passes `fds` to the snapshot and lets it become the worker. An error leaves a snapshot that can still be read from
// outside.
absl::StatusOr<SnapshotWorker> start_worker(Snapshot& snapshot, const std::vector<procfs::Mapping>& mappings,
                                            const std::vector<int>& fds, const CodeGadgets& gadgets);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_SNAPSHOT_WORKER_H_
