#include "helper/resources/printable.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace stillpoint {
namespace {

// Length of the UTF-8 sequence at the front of `bytes`; 0 when it is malformed, overlong, a surrogate or beyond
// U+10FFFF.
size_t sequence_length(absl::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t first = at(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || bytes.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  if ((first == 0xe0 && at(1) < 0xa0) || (first == 0xed && at(1) > 0x9f)) return 0;
  if ((first == 0xf0 && at(1) < 0x90) || (first == 0xf4 && at(1) > 0x8f)) return 0;
  return length;
}

}  // namespace

std::string printable(absl::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const uint8_t first = static_cast<uint8_t>(bytes[0]);
    size_t length = sequence_length(bytes);
    if (length == 0 || first < 0x20 || first == 0x7f) {
      absl::StrAppend(&text, "\\x", absl::Hex(first, absl::kZeroPad2));
      length = 1;
    } else {
      text.append(bytes.data(), length);
    }
    bytes.remove_prefix(length);
  }
  return text;
}

}  // namespace stillpoint
