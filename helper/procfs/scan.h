// Scanning of /proc text: small steps over a string_view that say whether they
// succeeded. Private to this room.
#ifndef STILLPOINT_HELPER_PROCFS_SCAN_H_
#define STILLPOINT_HELPER_PROCFS_SCAN_H_

#include <sys/types.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace stillpoint::procfs {

// Takes a number off the front of `text`. False, with `text` unchanged, when there is none or it does not fit in T.
// No sign, no "0x" and no white space is skipped; a '-' is taken only where T is signed.
template <typename T>
bool take_number(absl::string_view& text, T& out, int base = 10) {
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, out, base);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(rest - text.data()));
  return true;
}

// True when all of `text` is one number.
template <typename T>
bool whole_number(absl::string_view text, T& out, int base = 10) {
  return take_number(text, out, base) && text.empty();
}

inline bool take(absl::string_view& text, char wanted) {
  if (text.empty() || text.front() != wanted) return false;
  text.remove_prefix(1);
  return true;
}

// Everything up to `delimiter`, which is dropped; all of it when there is none.
absl::string_view take_until(absl::string_view& text, char delimiter);
// The next run of characters that are neither blank nor tab, and the blanks before it; empty at the end.
absl::string_view take_word(absl::string_view& text);
absl::string_view trim_blanks(absl::string_view text);

// The lines of a text, numbered from 1. A last line without a newline counts.
class Lines {
 public:
  explicit Lines(absl::string_view text) : rest_(text) {}
  bool next(absl::string_view& line);
  size_t number() const { return number_; }

 private:
  absl::string_view rest_;
  size_t number_ = 0;
};

// Undoes the kernel's octal escapes (\012) in a name, for the characters in `escaped` only: in a file that escapes
// nothing but newlines, "\040" is four characters of the name itself.
std::string unescape_octal(absl::string_view name, absl::string_view escaped);

// "maps line 7: address expected: \"zz-00 ...\"". The text is quoted, escaped and cut to a readable length.
absl::Status malformed(absl::string_view file, size_t line_number, absl::string_view expected, absl::string_view line);

// "/proc/42/maps", "/proc/42/task/43/status".
std::string process_path(pid_t pid, absl::string_view file);
std::string task_path(pid_t pid, pid_t tid, absl::string_view file);

}  // namespace stillpoint::procfs

#endif  // STILLPOINT_HELPER_PROCFS_SCAN_H_
