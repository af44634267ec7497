// The claim of `run` and `restart` on a checkpoint directory: from now on no older life of the job may publish there.
#ifndef STILLPOINT_TOOLS_LIFE_CLAIM_H_
#define STILLPOINT_TOOLS_LIFE_CLAIM_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/image/image.h"

namespace stillpoint::tools {

struct ClaimOptions {
  std::string job_id;      // empty: as the environment names it
  bool take_over = false;  // of a directory that belongs to another job
  bool beside = false;     // a life of this job that still runs on this machine
};

class LifeClaim {
 public:
  // Before there is a process. FAILED_PRECONDITION: the directory belongs to another job, or its program still runs on
  // this machine: the two would write the same files. One that has been killed is waited for. Where the directory
  // cannot be written one line says so, and the claim claims nothing.
  static absl::StatusOr<LifeClaim> begin(const std::string& job_directory, const ClaimOptions& options);
  LifeClaim(LifeClaim&& other) noexcept;
  LifeClaim& operator=(LifeClaim&&) = delete;
  ~LifeClaim() { withdraw(); }

  // The life's process is there, and runs.
  void settle(pid_t pid);
  // Nothing was started: what was not settled is as it was before.
  void withdraw();
  // The process has ended.
  void note_end() const;

 private:
  LifeClaim() = default;
  std::optional<image::JobDirectory> directory_;  // nullopt: nothing is claimed
  uint64_t epoch_ = 0;
  bool settled_ = false;
};

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_LIFE_CLAIM_H_
