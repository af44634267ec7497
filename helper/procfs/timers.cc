#include <signal.h>

#include "absl/strings/match.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {
namespace {

// Each timer is four lines, in this order.
constexpr absl::string_view kKeys[] = {"ID: ", "signal: ", "notify: ", "ClockID: "};
constexpr size_t kLinesPerTimer = 4;

// "34/00007ffd5c2a1b40"
bool parse_signal(absl::string_view value, TimerLine& timer) {
  return take_number(value, timer.signal) && take(value, '/') && whole_number(value, timer.signal_value, 16);
}

// "signal/tid.4711"
bool parse_notify(absl::string_view value, TimerLine& timer) {
  const absl::string_view how = take_until(value, '/');
  const absl::string_view target = take_until(value, '.');
  if (how == "signal") {
    timer.notify = SIGEV_SIGNAL;
  } else if (how == "none") {
    timer.notify = SIGEV_NONE;
  } else if (how == "thread") {
    timer.notify = SIGEV_THREAD;
  } else {
    return false;
  }
  if (target == "tid") timer.notify |= SIGEV_THREAD_ID;
  return (target == "tid" || target == "pid") && whole_number(value, timer.notify_pid);
}

bool parse_value(size_t key, absl::string_view value, TimerLine& timer) {
  switch (key) {
    case 0:
      return whole_number(value, timer.id);
    case 1:
      return parse_signal(value, timer);
    case 2:
      return parse_notify(value, timer);
    default:
      return whole_number(value, timer.clock);  // negative: a CPU-time clock
  }
}

}  // namespace

absl::StatusOr<std::vector<TimerLine>> parse_timers(absl::string_view text) {
  std::vector<TimerLine> timers;
  Lines lines(text);
  absl::string_view line;
  size_t next_key = 0;
  while (lines.next(line)) {
    if (!absl::StartsWith(line, kKeys[next_key])) {
      // Lines that a later kernel adds after the four belong to the timer before them.
      if (next_key == 0 && !timers.empty()) continue;
      return malformed("timers", lines.number(), kKeys[next_key], line);
    }
    if (next_key == 0) timers.emplace_back();
    if (!parse_value(next_key, line.substr(kKeys[next_key].size()), timers.back())) {
      return malformed("timers", lines.number(), "value", line);
    }
    next_key = (next_key + 1) % kLinesPerTimer;
  }
  if (next_key != 0) return malformed("timers", lines.number() + 1, kKeys[next_key], "");
  return timers;
}

absl::StatusOr<std::vector<TimerLine>> read_timers(pid_t pid) {
  const std::string path = process_path(pid, "timers");
  ASSIGN_OR_RETURN(const std::string text, read_text(path));
  absl::StatusOr<std::vector<TimerLine>> timers = parse_timers(text);
  if (!timers.ok()) return with_context(timers.status(), path);
  return timers;
}

}  // namespace stillpoint::procfs
