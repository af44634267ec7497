// Durations and signals as people write them on a command line.
#ifndef STILLPOINT_TOOLS_DURATION_H_
#define STILLPOINT_TOOLS_DURATION_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace stillpoint::tools {

// "90" and "90s" are seconds; "10m", "2h", "1d", "500ms" and sums such as "1h30m" are taken too. Negative, empty and
// overlong (over ten years) durations are INVALID_ARGUMENT.
absl::StatusOr<absl::Duration> parse_duration(absl::string_view text);

// "USR1", "SIGUSR1", "10", "RTMIN+2".
absl::StatusOr<int> parse_signal(absl::string_view text);
// "SIGUSR1"; "signal 99" for a number without a name.
std::string signal_name(int signal_number);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_DURATION_H_
