// A checkpoint of a running program from outside: through its hooks when it links the SDK, else by the helper alone.
#ifndef STILLPOINT_TOOLS_CHECKPOINT_PROCESS_H_
#define STILLPOINT_TOOLS_CHECKPOINT_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "helper/protocol/protocol.pb.h"

namespace stillpoint::tools {

struct CheckpointRequestOptions {
  pid_t pid = 0;
  std::string directory;         // of the job; created when it is not there
  bool stop = false;             // end the program once the image is durable
  std::vector<pid_t> leave_out;  // processes below it
  bool hooks = true;             // false: do not look for the SDK
  bool embed = true;
  uint32_t keep_last = 0;                   // 0: all
  absl::Duration wait = absl::Seconds(60);  // for the next call of a program that links the SDK
};

struct CheckpointReport {
  std::string image;  // path
  bool through_sdk = false;
  protocol::Statistics statistics;  // empty when through_sdk
  std::vector<std::string> notes;
};

// FAILED_PRECONDITION with findings (console.h) when the audit refuses; DEADLINE_EXCEEDED when a program that links
// the SDK did not reach a call. Whatever fails, the program runs on.
absl::StatusOr<CheckpointReport> checkpoint_process(const CheckpointRequestOptions& options);

// "checkpointed pid 4242 to ckpt/ckpt-00000001: 512 MiB in 1.30 s, pause 12.0 ms".
std::string describe(const CheckpointReport& report, pid_t pid);

// "ckpt" of "ckpt/"; "/" stays.
std::string without_trailing_slashes(std::string path);

// `path` made absolute, "." and ".." and symbolic links resolved; it must exist.
absl::StatusOr<std::string> absolute_path(const std::string& path);

// OK when `pid` is a process (not a thread, not gone); else an error that says which.
absl::Status require_process(pid_t pid);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_CHECKPOINT_PROCESS_H_
