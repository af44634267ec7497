// Checkpointer: checkpoints at intervals, from a loop.
//
//   stillpoint::Checkpointer checkpointer({.directory = "ckpt", .every = std::chrono::minutes(10), .keep_last = 3});
//   for (int step = 0; step < kSteps; ++step) {
//     advance(field);
//     checkpointer.poll();
//   }
//
// Several threads may use one object. Not async-signal-safe.
#ifndef STILLPOINT_CHECKPOINTER_H_
#define STILLPOINT_CHECKPOINTER_H_

#include <stillpoint/checkpoint.h>

#include <chrono>
#include <memory>
#include <utility>

namespace stillpoint {
inline namespace v0 {

struct CheckpointerOptions {
  std::string directory{};            // as in CheckpointOptions
  std::chrono::nanoseconds every{0};  // from the end of one checkpoint to the next; 0: only when a tool asks
  std::uint32_t keep_last = 0;        // images to keep; 0: all
  bool embed = true;
  std::chrono::milliseconds freeze_limit{0};
  std::string helper{};
  std::string job_id{};
  // After a checkpoint that a tool asked to stop at (`stillpoint checkpoint --stop`): true: poll() returns
  // kStopRequested and the program ends itself; false: the helper kills it as soon as the image is durable.
  bool return_on_stop = false;
};

enum class Poll : std::int32_t {
  kNothingDue = STILLPOINT_POLL_NOTHING_DUE,
  kCheckpointed = STILLPOINT_POLL_CHECKPOINTED,
  kRestored = STILLPOINT_POLL_RESTORED,
  kStopRequested = STILLPOINT_POLL_STOP_REQUESTED,  // the image is durable; what the program still does is not in it
};

class Checkpointer {
 public:
  explicit Checkpointer(const CheckpointerOptions& options) {
    CheckpointOptions each;
    each.keep_last = options.keep_last;
    each.embed = options.embed;
    each.freeze_limit = options.freeze_limit;
    each.helper = options.helper;
    each.job_id = options.job_id;
    stillpoint_checkpointer_options_t c_options = STILLPOINT_CHECKPOINTER_OPTIONS_INIT;
    c_options.directory = options.directory.empty() ? nullptr : options.directory.c_str();
    c_options.every_ns = options.every.count() < 0 ? 0 : static_cast<std::uint64_t>(options.every.count());
    c_options.return_on_stop = options.return_on_stop ? 1 : 0;
    c_options.options = internal::to_c(each);
    stillpoint_checkpointer_t* made = nullptr;
    stillpoint_checkpointer_create(&c_options, &made);  // fails for want of memory only: poll() then says so
    checkpointer_.reset(made);
  }

  // True when the next poll() would take a checkpoint. Nanoseconds.
  bool due() const { return stillpoint_checkpointer_due(checkpointer_.get()) != 0; }

  // Takes a checkpoint if one is due or a tool asks for one; else costs nanoseconds. A failed one is tried again after
  // another interval: ignoring the result of poll() is safe, and the loop goes on.
  Result<Poll> poll() {
    stillpoint_poll_t poll = STILLPOINT_POLL_NOTHING_DUE;
    // Not initialised as a whole: poll() is for inner loops, and the library writes it when there is something to tell.
    stillpoint_result_t result;
    result.struct_size = sizeof result;
    result.outcome = STILLPOINT_OUTCOME_NONE;
    const stillpoint_code_t code = stillpoint_checkpointer_poll(checkpointer_.get(), &poll, &result);
    if (code != STILLPOINT_OK) return internal::latest_status(code, &result);
    return static_cast<Poll>(poll);
  }

  // Takes one now, due or not.
  [[nodiscard]] Result<CheckpointResult> checkpoint() {
    stillpoint_result_t result = STILLPOINT_RESULT_INIT;
    const stillpoint_code_t code = stillpoint_checkpointer_checkpoint(checkpointer_.get(), &result);
    if (code != STILLPOINT_OK) return internal::latest_status(code, &result);
    return internal::to_result(result);
  }

 private:
  struct Destroy {
    void operator()(stillpoint_checkpointer_t* checkpointer) const { stillpoint_checkpointer_destroy(checkpointer); }
  };
  std::unique_ptr<stillpoint_checkpointer_t, Destroy> checkpointer_;
};

}  // namespace v0
}  // namespace stillpoint

#endif  // STILLPOINT_CHECKPOINTER_H_
