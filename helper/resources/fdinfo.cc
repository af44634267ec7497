#include "helper/resources/fdinfo.h"

#include <charconv>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/printable.h"

namespace stillpoint {

bool parse_unsigned(absl::string_view text, int base, uint64_t& value) {
  const char* end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, value, base);
  return result.ec == std::errc() && result.ptr == end && !text.empty();
}

absl::StatusOr<uint64_t> fdinfo_unsigned(const OpenFileView& file, absl::string_view key, int base) {
  ASSIGN_OR_RETURN(const std::string text, fdinfo_value(file, key));
  uint64_t value = 0;
  if (!parse_unsigned(text, base, value)) return malformed_fdinfo(file, absl::StrCat(key, ": ", text));
  return value;
}

absl::StatusOr<int64_t> fdinfo_signed(const OpenFileView& file, absl::string_view key) {
  ASSIGN_OR_RETURN(const std::string text, fdinfo_value(file, key));
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, value, 10);
  if (result.ec != std::errc() || result.ptr != end) return malformed_fdinfo(file, absl::StrCat(key, ": ", text));
  return value;
}

absl::string_view word_value(absl::string_view line, absl::string_view key) {
  const std::string pattern = absl::StrCat(key, ":");
  for (size_t at = line.find(pattern); at != absl::string_view::npos; at = line.find(pattern, at + 1)) {
    if (at != 0 && line[at - 1] != ' ' && line[at - 1] != '\t') continue;  // "ino:" within "x-ino:"
    const absl::string_view rest = absl::StripLeadingAsciiWhitespace(line.substr(at + pattern.size()));
    return rest.substr(0, rest.find_first_of(" \t"));
  }
  return {};
}

absl::Status malformed_fdinfo(const OpenFileView& file, absl::string_view line) {
  return absl::DataLossError(absl::StrCat("fdinfo of ", describe(file), " is malformed: ", printable(line)));
}

}  // namespace stillpoint
