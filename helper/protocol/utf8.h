// Protobuf refuses a message whose strings are not UTF-8; file names need not be. What travels for people to read is
// made UTF-8 first.
#ifndef STILLPOINT_HELPER_PROTOCOL_UTF8_H_
#define STILLPOINT_HELPER_PROTOCOL_UTF8_H_

#include <cstddef>
#include <cstdint>

namespace stillpoint::protocol {

// The length of the UTF-8 sequence at `at`; 0 when there is none (overlong forms, surrogates and what lies above
// U+10FFFF are none).
inline size_t utf8_sequence(const unsigned char* at, size_t left) {
  const unsigned char lead = at[0];
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                        : lead >= 0xe0 && lead <= 0xef ? 3
                        : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                       : 0;
  if (length == 0 || length > left) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  if (lead == 0xe0 && at[1] < 0xa0) return 0;  // overlong
  if (lead == 0xed && at[1] > 0x9f) return 0;  // surrogates
  if (lead == 0xf0 && at[1] < 0x90) return 0;  // overlong
  if (lead == 0xf4 && at[1] > 0x8f) return 0;  // above U+10FFFF
  return length;
}

// Puts '?' in place of every byte that belongs to no UTF-8 sequence.
inline void replace_invalid_utf8(char* text, size_t size) {
  for (size_t i = 0; i < size;) {
    const size_t length = utf8_sequence(reinterpret_cast<const unsigned char*>(text) + i, size - i);
    if (length == 0) text[i] = '?';
    i += length == 0 ? 1 : length;
  }
}

}  // namespace stillpoint::protocol

#endif  // STILLPOINT_HELPER_PROTOCOL_UTF8_H_
