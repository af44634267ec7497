// Checkpoints at intervals (stillpoint_checkpointer_t).
#ifndef STILLPOINT_SDK_CHECKPOINTER_H_
#define STILLPOINT_SDK_CHECKPOINTER_H_

#include <stillpoint/stillpoint.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace stillpoint::sdk {

class Checkpointer {
 public:
  explicit Checkpointer(const stillpoint_checkpointer_options_t& options);

  bool due() const;
  stillpoint_code_t poll(stillpoint_poll_t& poll, stillpoint_result_t* result);
  stillpoint_code_t checkpoint(stillpoint_result_t* result, bool* stop_requested = nullptr);

 private:
  void schedule();
  void report(stillpoint_code_t code, bool logged);

  const bool has_directory_, return_on_stop_;
  const std::string directory_, helper_, job_id_;
  const uint64_t every_ns_;
  stillpoint_options_t options_;
  std::atomic<uint64_t> next_ns_{UINT64_MAX};  // CLOCK_MONOTONIC_COARSE
  std::string reported_;                       // the last failure that was; belongs to whoever polled_by_ names
  std::atomic<pid_t> polled_by_{0};  // process in which a poll is taking a checkpoint: not the parent of a fork
};

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_CHECKPOINTER_H_
