// A checkpoint that goes on beside the supervision: in a forked process, so that signals are forwarded meanwhile and
// nothing that happens to it reaches the program.
#ifndef STILLPOINT_TOOLS_CHECKPOINT_JOB_H_
#define STILLPOINT_TOOLS_CHECKPOINT_JOB_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tools/checkpoint_process.h"

namespace stillpoint::tools {

// Destroying the object kills a job that still goes on: the helper then gives up, the program runs on.
class CheckpointJob {
 public:
  // The job says on stderr, in one line, what came of it.
  static absl::StatusOr<CheckpointJob> start(const CheckpointRequestOptions& options);
  CheckpointJob(CheckpointJob&& other) noexcept;
  CheckpointJob& operator=(CheckpointJob&& other) noexcept;
  ~CheckpointJob();

  bool stops_program() const { return stops_program_; }
  // Whether it succeeded; nullopt while it goes on. To be asked once after the end.
  std::optional<bool> poll();
  // Waits for the end; false as well when `interruption_fd` becomes readable before: the job goes on then.
  bool wait(int interruption_fd);

 private:
  CheckpointJob(pid_t pid, bool stops_program) : pid_(pid), stops_program_(stops_program) {}
  void kill();
  pid_t pid_ = 0;
  bool stops_program_ = false;
};

// A failed checkpoint of a program that runs on, in one line, findings and remedies included.
std::string failure_line(const absl::Status& status);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_CHECKPOINT_JOB_H_
