// What `run` does while its program runs: checkpoints it in time and on signals, and says when that fails.
#ifndef STILLPOINT_TOOLS_SUPERVISED_RUN_H_
#define STILLPOINT_TOOLS_SUPERVISED_RUN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "helper/base/unique_fd.h"
#include "tools/checkpoint_job.h"
#include "tools/life_claim.h"
#include "tools/supervisor.h"

namespace stillpoint::tools {

struct RunOptions {
  std::string directory;
  bool fresh = false;
  uint32_t keep_last = 3;
  absl::Duration every = absl::ZeroDuration();  // zero: not in time
  absl::Duration wait = absl::ZeroDuration();   // for a program that links the SDK; zero: `every`, or a minute
  int on_signal = 0;                            // checkpoint; 0: none
  int stop_on_signal = 0;                       // checkpoint, end the program, exit 85; 0: none
  bool embed = true;
  bool keep_fds = false;  // let the program inherit pipes and sockets of our starter's
  ClaimOptions ownership;
  std::vector<std::pair<std::string, std::string>> map_paths;
  std::vector<std::string> program;
};

class SupervisedRun {
 public:
  SupervisedRun(const RunOptions& options, SupervisedProgram program, const SignalInbox& inbox)
      : options_(options), inbox_(inbox), supervisor_(std::move(program), inbox) {}

  // Until the program ended and the checkpoint that was going on is over. The wait status of the program.
  absl::StatusOr<int> wait();
  // After wait(): the program was ended by the checkpoint that --stop-on-signal asked for.
  bool stopped_by_checkpoint() const { return stopped_by_checkpoint_; }

 private:
  absl::Status arm_timer();
  void timer_expired();
  bool take_signal(int signal_number);
  void begin(bool stop);
  void look_after_job();

  const RunOptions& options_;
  const SignalInbox& inbox_;
  Supervisor supervisor_;
  UniqueFd timer_;
  std::optional<CheckpointJob> job_;
  bool checkpoint_wanted_ = false;
  bool stop_wanted_ = false;
  bool stopped_by_checkpoint_ = false;
};

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_SUPERVISED_RUN_H_
