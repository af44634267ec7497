#include "helper/procfs/scan.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace stillpoint::procfs {
namespace {

constexpr size_t kQuotedLength = 100;

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// The character that "\ooo" at the front of `text` stands for, or -1.
int octal_escape(absl::string_view text) {
  if (text.size() < 4 || text[0] != '\\') return -1;
  int value = 0;
  for (size_t i = 1; i < 4; ++i) {
    if (text[i] < '0' || text[i] > '7') return -1;
    value = value * 8 + (text[i] - '0');
  }
  return value <= 0xff ? value : -1;
}

}  // namespace

absl::string_view take_until(absl::string_view& text, char delimiter) {
  const size_t at = text.find(delimiter);
  const absl::string_view taken = text.substr(0, at);
  text.remove_prefix(at == absl::string_view::npos ? text.size() : at + 1);
  return taken;
}

absl::string_view take_word(absl::string_view& text) {
  size_t start = 0;
  while (start < text.size() && is_blank(text[start])) ++start;
  size_t end = start;
  while (end < text.size() && !is_blank(text[end])) ++end;
  const absl::string_view word = text.substr(start, end - start);
  text.remove_prefix(end);
  return word;
}

absl::string_view trim_blanks(absl::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool Lines::next(absl::string_view& line) {
  if (rest_.empty()) return false;
  line = take_until(rest_, '\n');
  ++number_;
  return true;
}

std::string unescape_octal(absl::string_view name, absl::string_view escaped) {
  std::string result;
  if (name.find('\\') == absl::string_view::npos) {
    result.assign(name.data(), name.size());
    return result;
  }
  result.reserve(name.size());
  while (!name.empty()) {
    const int value = octal_escape(name);
    const bool undo = value >= 0 && escaped.find(static_cast<char>(value)) != absl::string_view::npos;
    result.push_back(undo ? static_cast<char>(value) : name.front());
    name.remove_prefix(undo ? 4 : 1);
  }
  return result;
}

absl::Status malformed(absl::string_view file, size_t line_number, absl::string_view expected, absl::string_view line) {
  const bool cut = line.size() > kQuotedLength;
  return absl::InvalidArgumentError(absl::StrCat(file, " line ", line_number, ": ", expected, " expected: \"",
                                                 absl::CHexEscape(line.substr(0, kQuotedLength)), cut ? "..." : "",
                                                 "\""));
}

std::string process_path(pid_t pid, absl::string_view file) { return absl::StrCat("/proc/", pid, "/", file); }

std::string task_path(pid_t pid, pid_t tid, absl::string_view file) {
  return absl::StrCat("/proc/", pid, "/task/", tid, "/", file);
}

}  // namespace stillpoint::procfs
