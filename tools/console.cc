#include "tools/console.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "tools/json_writer.h"

namespace stillpoint::tools {

void print(absl::string_view text) { (void)write_all(STDOUT_FILENO, text, "stdout"); }

void say(absl::string_view text) { (void)write_all(STDERR_FILENO, absl::StrCat("stillpoint: ", text, "\n"), "stderr"); }

void say_error(const absl::Status& status) {
  const protocol::FindingList findings = findings_in(status);
  std::string text = printable(status.message());
  if (findings.findings_size() > 0) absl::StrAppend(&text, "\n", format_findings(findings));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  say(text);
}

std::string format_bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.*f %s", value < 9.95 ? 1 : 0, value, kUnits[unit]);
}

std::string format_nanoseconds(uint64_t nanoseconds) {
  const double value = static_cast<double>(nanoseconds);
  if (nanoseconds < 1000000) return absl::StrFormat("%.0f us", value / 1e3);
  if (nanoseconds < 1000000000) return absl::StrFormat("%.1f ms", value / 1e6);
  return absl::StrFormat("%.2f s", value / 1e9);
}

std::string format_time(int64_t realtime_ns) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", absl::FromUnixNanos(realtime_ns), absl::UTCTimeZone());
}

std::string printable(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = utf8_sequence_length(text);
    const auto byte = static_cast<unsigned char>(text[0]);
    // C0 and DEL, and C1 in its UTF-8 form (c2 80..9f): some terminals obey those too.
    const bool c1 = length == 2 && byte == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
    if (length == 0 || c1 || (byte < 0x20 && byte != '\n') || byte == 0x7f) {
      absl::StrAppendFormat(&out, "\\x%02x", byte);
      text.remove_prefix(1);
    } else {
      absl::StrAppend(&out, text.substr(0, length));
      text.remove_prefix(length);
    }
  }
  return out;
}

std::string printable_line(absl::string_view text) { return absl::StrReplaceAll(printable(text), {{"\n", " "}}); }

std::string format_findings(const protocol::FindingList& findings) {
  std::string text;
  for (const protocol::Finding& finding : findings.findings()) {
    absl::StrAppend(&text, "  ", printable(finding.code()), "  ", printable(finding.object()),
                    "\n      why:    ", printable(finding.reason()), "\n      remedy: ", printable(finding.remedy()),
                    "\n");
  }
  return text;
}

std::string findings_json(const protocol::FindingList& findings) {
  JsonWriter json;
  json.begin_object().key("findings").begin_array();
  for (const protocol::Finding& finding : findings.findings()) {
    json.begin_object();
    json.key("code").string(finding.code()).key("object").string(finding.object());
    json.key("reason").string(finding.reason()).key("remedy").string(finding.remedy());
    json.end_object();
  }
  json.end_array().end_object();
  return json.take() + "\n";
}

absl::Status with_findings(absl::Status status, const protocol::FindingList& findings) {
  if (!status.ok() && findings.findings_size() > 0) {
    status.SetPayload(kFindingsUrl, absl::Cord(findings.SerializeAsString()));
  }
  return status;
}

protocol::FindingList findings_in(const absl::Status& status) {
  protocol::FindingList findings;
  if (const auto payload = status.GetPayload(kFindingsUrl)) {
    if (!findings.ParseFromString(std::string(*payload))) findings.Clear();
  }
  return findings;
}

ProgressLine::ProgressLine(std::string label)
    : label_(std::move(label)), on_terminal_(::isatty(STDERR_FILENO) == 1), started_(absl::Now()) {}

void ProgressLine::update(uint64_t bytes_done, uint64_t bytes_total) {
  if (!on_terminal_) return;
  const absl::Time now = absl::Now();
  if (now - started_ < absl::Seconds(1) || now - drawn_ < absl::Milliseconds(100)) return;
  drawn_ = now;
  shown_ = true;
  const double percent =
      bytes_total == 0 ? 0 : 100.0 * static_cast<double>(bytes_done) / static_cast<double>(bytes_total);
  const double rate = static_cast<double>(bytes_done) / absl::ToDoubleSeconds(now - started_);
  const std::string line =
      absl::StrFormat("\r\x1b[K%s: %s of %s (%.0f%%), %s/s", label_, format_bytes(bytes_done),
                      format_bytes(bytes_total), percent, format_bytes(static_cast<uint64_t>(rate)));
  (void)write_all(STDERR_FILENO, line, "stderr");
}

void ProgressLine::clear() {
  if (std::exchange(shown_, false)) (void)write_all(STDERR_FILENO, "\r\x1b[K", "stderr");
}

}  // namespace stillpoint::tools
