// What the commands print. Results go to stdout, everything about them to stderr.
#ifndef STILLPOINT_TOOLS_CONSOLE_H_
#define STILLPOINT_TOOLS_CONSOLE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "helper/protocol/protocol.pb.h"

namespace stillpoint::tools {

// To stdout, as it is. A reader that went away (EPIPE) is nobody's error.
void print(absl::string_view text);
// "stillpoint: TEXT\n" to stderr in one write, so that lines of the program and ours do not mix.
void say(absl::string_view text);
// The message of an error, and its findings when it carries any.
void say_error(const absl::Status& status);

// "1.5 GiB", "512 B".
std::string format_bytes(uint64_t bytes);
// "12 ms", "1.3 s", "250 us".
std::string format_nanoseconds(uint64_t nanoseconds);
// "2026-11-23 13:31:47 UTC" from nanoseconds since the epoch.
std::string format_time(int64_t realtime_ns);
// `text` for a terminal: control characters and invalid UTF-8 shown as \x1b and the like. Names of files and programs
// come from strangers.
std::string printable(absl::string_view text);
// The same on one line.
std::string printable_line(absl::string_view text);

// Readable list: code, object, reason, remedy, one paragraph each.
std::string format_findings(const protocol::FindingList& findings);
// {"findings":[{"code":...,"object":...,"reason":...,"remedy":...}]} and a newline.
std::string findings_json(const protocol::FindingList& findings);

// The type URL of the payload that carries a FindingList in a refused status.
inline constexpr char kFindingsUrl[] = "stillpoint.dev/findings";
absl::Status with_findings(absl::Status status, const protocol::FindingList& findings);
protocol::FindingList findings_in(const absl::Status& status);

// One line on stderr that is redrawn: only on a terminal, only once a second has passed. Goes away with the object.
class ProgressLine {
 public:
  explicit ProgressLine(std::string label);
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine() { clear(); }
  void update(uint64_t bytes_done, uint64_t bytes_total);
  void clear();

 private:
  std::string label_;
  bool on_terminal_;
  bool shown_ = false;
  absl::Time started_;
  absl::Time drawn_ = absl::InfinitePast();
};

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_CONSOLE_H_
