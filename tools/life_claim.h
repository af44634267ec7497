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

class LifeClaim {
 public:
  // Before there is a process. `job_id`: empty: as the environment names it. FAILED_PRECONDITION: the directory belongs
  // to another job. Where it cannot be written one line says so, and the claim claims nothing.
  static absl::StatusOr<LifeClaim> begin(const std::string& job_directory, const std::string& job_id, bool take_over);
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
