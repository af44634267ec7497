#include "tools/duration.h"

#include <signal.h>

#include <cstdint>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace stillpoint::tools {
namespace {

constexpr int64_t kLongestHours = int64_t{24} * 3660;  // ten years

absl::Status bad_duration(absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not a duration: write seconds (90), or 500ms, 90s, 10m, 2h, 1d, 1h30m"));
}

// Takes one unit off the front of `rest`; nothing there means seconds.
bool consume_unit(absl::string_view& rest, absl::Duration& unit) {
  if (absl::ConsumePrefix(&rest, "ms")) {
    unit = absl::Milliseconds(1);
  } else if (rest.empty() || absl::ConsumePrefix(&rest, "s")) {
    unit = absl::Seconds(1);
  } else if (absl::ConsumePrefix(&rest, "m")) {
    unit = absl::Minutes(1);
  } else if (absl::ConsumePrefix(&rest, "h")) {
    unit = absl::Hours(1);
  } else if (absl::ConsumePrefix(&rest, "d")) {
    unit = absl::Hours(24);
  } else {
    return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<absl::Duration> parse_duration(absl::string_view text) {
  absl::string_view rest = text;
  absl::Duration total = absl::ZeroDuration();
  do {
    size_t digits = 0;
    while (digits < rest.size() && absl::ascii_isdigit(static_cast<unsigned char>(rest[digits]))) ++digits;
    int64_t count = 0;
    if (digits == 0 || digits > 15 || !absl::SimpleAtoi(rest.substr(0, digits), &count)) return bad_duration(text);
    rest.remove_prefix(digits);
    absl::Duration unit;
    if (!consume_unit(rest, unit)) return bad_duration(text);
    total += count * unit;
  } while (!rest.empty());
  if (total > absl::Hours(kLongestHours)) return bad_duration(text);
  return total;
}

absl::StatusOr<int> parse_signal(absl::string_view text) {
  const absl::Status bad = absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not a signal: write a name (USR1, SIGTERM, RTMIN+1) or a number"));
  int number = 0;
  if (absl::SimpleAtoi(text, &number)) {
    if (number <= 0 || number > SIGRTMAX) return bad;
    return number;
  }
  const std::string upper = absl::AsciiStrToUpper(text);
  absl::string_view name = upper;
  absl::ConsumePrefix(&name, "SIG");
  if (absl::ConsumePrefix(&name, "RTMIN")) {
    if (!name.empty() && (name[0] != '+' || !absl::SimpleAtoi(name.substr(1), &number))) return bad;
    if (number < 0 || number > SIGRTMAX - SIGRTMIN) return bad;
    return SIGRTMIN + number;
  }
  for (int candidate = 1; candidate < SIGRTMIN; ++candidate) {
    const char* known = ::sigabbrev_np(candidate);
    if (known != nullptr && name == known) return candidate;
  }
  return bad;
}

std::string signal_name(int signal_number) {
  if (signal_number >= SIGRTMIN && signal_number <= SIGRTMAX) {
    return absl::StrCat("SIGRTMIN+", signal_number - SIGRTMIN);
  }
  const char* name = ::sigabbrev_np(signal_number);
  return name != nullptr ? absl::StrCat("SIG", name) : absl::StrCat("signal ", signal_number);
}

}  // namespace stillpoint::tools
