// checkpoint(): the whole of Stillpoint in one call.
//
//   stillpoint::Result<stillpoint::CheckpointResult> result = stillpoint::checkpoint({.directory = "ckpt"});
//   if (result.ok() && result->outcome == stillpoint::Outcome::kRestored) { /* a new life */ }
//
// Any thread may call it; one checkpoint is taken at a time and a second caller waits for the first. Not
// async-signal-safe. See stillpoint.h for the environment variables that override the options.
#ifndef STILLPOINT_CHECKPOINT_H_
#define STILLPOINT_CHECKPOINT_H_

#include <stillpoint/status.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace stillpoint {
inline namespace v0 {

struct CheckpointOptions {
  std::string directory{};      // created if it is not there (its last component); empty: STILLPOINT_DIR
  std::uint32_t keep_last = 0;  // images to keep, this one included; 0: all
  bool stop = false;            // the process is killed once the image is durable: the call does not return
  bool embed = true;            // keep copies of the executable and its libraries with the image
  std::chrono::milliseconds freeze_limit{0};  // how long all threads may take to stop; 0: 10 seconds
  std::string helper{};  // as STILLPOINT_HELPER; empty: found next to the SDK or where it was installed
  std::string job_id{};  // of the job that the directory belongs to; empty: as the batch system names it
};

enum class Outcome : std::int32_t {
  kResumed = STILLPOINT_OUTCOME_RESUMED,    // the image is durable and the program goes on
  kRestored = STILLPOINT_OUTCOME_RESTORED,  // a new life, started from the image
  kOff = STILLPOINT_OUTCOME_OFF,            // STILLPOINT_OFF is set: nothing was done, no hook was run
};

// Of a checkpoint that resumed; all zero after a restart.
struct Statistics {
  std::chrono::nanoseconds pause{};     // the application's threads did not run
  std::chrono::nanoseconds freeze{};    // of it: until all threads had stopped
  std::chrono::nanoseconds snapshot{};  // of it: forking the address space
  std::chrono::nanoseconds write{};     // writing pages, while the application ran
  std::chrono::nanoseconds total{};     // from the helper's first look to the durable image
  std::uint64_t pages = 0;              // saved, of 4096 bytes
  std::uint64_t bytes = 0;              // of page data
  std::uint64_t image_bytes = 0;        // of all files of the image
  std::string method{};                 // "snapshot", "snapshot+outside", "stop"
  std::string method_reason{};          // why not the fastest way; empty when it was
};

struct CheckpointResult {
  Outcome outcome = Outcome::kResumed;
  std::string image_path{};    // directory as given, '/', name of the image
  std::uint64_t sequence = 0;  // 42 for ckpt-00000042
  Statistics statistics{};
  bool in_namespace = false;         // restored: pid, user and mount namespaces of its own
  bool clocks_jumped = false;        // restored: CLOCK_MONOTONIC and CLOCK_BOOTTIME do not go on from where they were
  std::vector<std::string> notes{};  // the helper's remarks
};

namespace internal {

inline CheckpointResult to_result(const stillpoint_result_t& from) {
  using std::chrono::nanoseconds;
  CheckpointResult to;
  to.outcome = static_cast<Outcome>(from.outcome);
  to.image_path = from.image_path;
  to.sequence = from.sequence;
  to.statistics.pause = nanoseconds(from.pause_ns);
  to.statistics.freeze = nanoseconds(from.freeze_ns);
  to.statistics.snapshot = nanoseconds(from.snapshot_ns);
  to.statistics.write = nanoseconds(from.write_ns);
  to.statistics.total = nanoseconds(from.total_ns);
  to.statistics.pages = from.pages;
  to.statistics.bytes = from.bytes;
  to.statistics.image_bytes = from.image_bytes;
  to.statistics.method = from.method;
  to.statistics.method_reason = from.method_reason;
  to.in_namespace = (from.flags & STILLPOINT_RESTORED_IN_NAMESPACE) != 0;
  to.clocks_jumped = (from.flags & STILLPOINT_RESTORED_CLOCKS_JUMPED) != 0;
  for (std::size_t i = 0; i < stillpoint_note_count(); ++i) to.notes.emplace_back(stillpoint_note(i));
  return to;
}

// The status of this thread's latest call, with everything that belongs to it.
inline Status latest_status(stillpoint_code_t code, const stillpoint_result_t* result) {
  if (code == STILLPOINT_OK) return Status();
  auto detail = std::make_shared<StatusDetail>();
  detail->failed_hook = stillpoint_failed_hook();
  for (std::size_t i = 0; i < stillpoint_finding_count(); ++i) {
    stillpoint_finding_t finding = STILLPOINT_FINDING_INIT;
    if (stillpoint_finding_get(i, &finding) != STILLPOINT_OK) break;
    detail->findings.push_back({finding.code, finding.object, finding.reason, finding.remedy});
  }
  if (result != nullptr && result->outcome != STILLPOINT_OUTCOME_NONE) {
    detail->completed = std::make_shared<const CheckpointResult>(to_result(*result));
  }
  return Status(static_cast<Code>(code), stillpoint_error_text(), std::move(detail));
}

// Points into `options`, which must outlive what is returned.
inline stillpoint_options_t to_c(const CheckpointOptions& options) {
  stillpoint_options_t to = STILLPOINT_OPTIONS_INIT;
  if (options.stop) to.flags |= STILLPOINT_STOP;
  if (!options.embed) to.flags |= STILLPOINT_NO_EMBED;
  to.keep_last = options.keep_last;
  to.freeze_limit_ms = options.freeze_limit.count() < 0 ? 0
                       : options.freeze_limit.count() > 0x7fffffff
                           ? 0x7fffffffu
                           : static_cast<std::uint32_t>(options.freeze_limit.count());
  to.helper = options.helper.empty() ? nullptr : options.helper.c_str();
  to.job_id = options.job_id.empty() ? nullptr : options.job_id.c_str();
  return to;
}

}  // namespace internal

// Takes a checkpoint and returns when the image is durable; returns again, in a new life, after `stillpoint restart`.
// On an error nothing was published and the program runs on unchanged, unless completed(status) says otherwise (a hook
// that ran afterwards failed). findings(status) tells what could not be saved. Not to be called from a hook.
[[nodiscard]] inline Result<CheckpointResult> checkpoint(const CheckpointOptions& options = {}) {
  const stillpoint_options_t c_options = internal::to_c(options);
  stillpoint_result_t result = STILLPOINT_RESULT_INIT;
  const stillpoint_code_t code =
      stillpoint_checkpoint(options.directory.empty() ? nullptr : options.directory.c_str(), &c_options, &result);
  if (code != STILLPOINT_OK) return internal::latest_status(code, &result);
  return internal::to_result(result);
}

}  // namespace v0
}  // namespace stillpoint

#endif  // STILLPOINT_CHECKPOINT_H_
