#include "sdk/checkpointer.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "sdk/anchor.h"
#include "sdk/checkpoint.h"
#include "sdk/last_call.h"
#include "sdk/tree_round.h"

namespace stillpoint::sdk {
namespace {

// The vDSO answers this one from memory, without reading a hardware clock.
uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

std::string text_or_empty(const char* text) { return text == nullptr ? "" : text; }

}  // namespace

Checkpointer::Checkpointer(const stillpoint_checkpointer_options_t& options)
    : has_directory_(options.directory != nullptr),
      return_on_stop_(options.return_on_stop != 0),
      directory_(text_or_empty(options.directory)),
      helper_(text_or_empty(options.options.helper)),
      job_id_(text_or_empty(options.options.job_id)),
      every_ns_(options.every_ns),
      options_(options.options) {
  options_.helper = helper_.empty() ? nullptr : helper_.c_str();
  options_.job_id = job_id_.empty() ? nullptr : job_id_.c_str();
  schedule();
}

void Checkpointer::schedule() {
  const uint64_t now = now_ns();
  next_ns_.store(every_ns_ == 0 || every_ns_ > UINT64_MAX - now ? UINT64_MAX : now + every_ns_,
                 std::memory_order_relaxed);
}

bool Checkpointer::due() const {
  if (anchor_request_pending() || tree_round_pending()) return true;
  const uint64_t next = next_ns_.load(std::memory_order_relaxed);
  return next != UINT64_MAX && now_ns() >= next;
}

// The result of poll() may be ignored; that there is no checkpoint must not stay unknown until it is needed.
void Checkpointer::report(stillpoint_code_t code, bool logged) {
  const std::string failure = code == STILLPOINT_OK || logged ? "" : last_call().error;
  if (!failure.empty() && failure != reported_) {
    std::string line = "stillpoint: no checkpoint of pid " + std::to_string(::getpid()) + ": " + failure;
    std::replace(line.begin(), line.end(), '\n', ' ');
    line += " (the program runs on; STILLPOINT_LOG=FILE keeps a log instead of this line)\n";
    // One write: lines of several processes do not mix. Where there is no standard error nobody is to be told.
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
  }
  if (code == STILLPOINT_OK || !failure.empty()) reported_ = failure;
}

stillpoint_code_t Checkpointer::poll(stillpoint_poll_t& poll, stillpoint_result_t* result) {
  poll = STILLPOINT_POLL_NOTHING_DUE;
  if (!due()) {
    anchor_count_call();
    return STILLPOINT_OK;
  }
  const pid_t pid = ::getpid();
  pid_t busy = polled_by_.load(std::memory_order_relaxed);
  // Another thread is at it (or this one, and this is a hook).
  if (busy == pid || !polled_by_.compare_exchange_strong(busy, pid)) return STILLPOINT_OK;
  stillpoint_result_t own = STILLPOINT_RESULT_INIT;
  if (result == nullptr) result = &own;
  bool stop = false;
  const stillpoint_code_t code = checkpoint(result, &stop);
  polled_by_.store(0);
  if (result->outcome == STILLPOINT_OUTCOME_RESUMED)
    poll = stop ? STILLPOINT_POLL_STOP_REQUESTED : STILLPOINT_POLL_CHECKPOINTED;
  if (result->outcome == STILLPOINT_OUTCOME_RESTORED) poll = STILLPOINT_POLL_RESTORED;
  return code;
}

stillpoint_code_t Checkpointer::checkpoint(stillpoint_result_t* result, bool* stop_requested) {
  CheckpointCall call;
  call.directory = has_directory_ ? directory_.c_str() : nullptr;
  call.options = &options_;
  call.result = result;
  call.return_on_stop = return_on_stop_ && stop_requested != nullptr;
  const stillpoint_code_t code = take_checkpoint(call);
  if (stop_requested != nullptr) report(code, call.logged);
  schedule();
  if (stop_requested != nullptr) *stop_requested = call.stop_requested;
  return code;
}

}  // namespace stillpoint::sdk
