// The dump of a process tree, top to bottom: freeze, read, audit, snapshot, resume, write, publish.
#ifndef STILLPOINT_HELPER_DUMP_DUMP_H_
#define STILLPOINT_HELPER_DUMP_DUMP_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "helper/base/unique_fd.h"
#include "helper/dump/sdk_thread.h"
#include "helper/protocol/protocol.pb.h"
#include "helper/resources/finding.h"

namespace stillpoint {

struct DumpOptions {
  pid_t pid = 0;
  bool stop = false;
  uint32_t keep_last = 0;
  bool embed = true;
  std::vector<protocol::MemoryRange> excluded;
  absl::Duration freeze_limit = absl::Seconds(10);
  std::string directory_name;
  std::string job_id;
  std::set<pid_t> leave_out;                      // processes below it that are not dumped, nor what is below them
  bool hooks = true;                              // of members that link the SDK, other than the one that asks
  absl::Duration hooks_wait = absl::Seconds(60);  // for their next call
  SdkThreadConnection* sdk_thread = nullptr;      // not owned; null for programs without the SDK
  // Asked once every thread is stopped, before anything is read: the pid may have become another program's, or the
  // program another user's (setuid), since the caller looked. An error ends the dump. Null: no question.
  std::function<absl::Status(pid_t)> authorize;
};

// What the dump tells while it goes on. Called in order; `resumed` at the end of the pause.
class DumpObserver {
 public:
  virtual ~DumpObserver() = default;
  virtual void resumed(uint64_t /*pause_ns*/) {}
  virtual void progress(uint64_t /*bytes_done*/, uint64_t /*bytes_total*/) {}
};

struct DumpResult {
  std::string image;  // "ckpt-00000042"
  uint64_t sequence = 0;
  protocol::Statistics statistics;
  std::vector<std::string> notes;
};

// Dumps into the checkpoint directory `directory_fd`. When the audit finds something: FAILED_PRECONDITION with all
// findings in the payload (findings_of). Whatever fails, the process runs on unchanged and the directory holds what it
// held.
absl::StatusOr<DumpResult> dump(const DumpOptions& options, int directory_fd, DumpObserver& observer);

// All findings of a process, without dumping.
absl::StatusOr<Findings> audit(const DumpOptions& options);

absl::Status findings_status(const Findings& findings);
// The findings in a status made by findings_status; empty when there are none.
std::vector<Finding> findings_of(const absl::Status& status);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_DUMP_H_
