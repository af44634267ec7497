// Writes JSON text, always valid: strings that are not UTF-8 lose their bad bytes to U+FFFD.
#ifndef STILLPOINT_TOOLS_JSON_WRITER_H_
#define STILLPOINT_TOOLS_JSON_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace stillpoint::tools {

// Length of the well-formed UTF-8 sequence that `text` begins with; 0 when it begins with none.
size_t utf8_sequence_length(absl::string_view text);

class JsonWriter {
 public:
  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(absl::string_view name);  // before each value of an object
  JsonWriter& string(absl::string_view value);
  JsonWriter& number(int64_t value);
  JsonWriter& unsigned_number(uint64_t value);
  JsonWriter& boolean(bool value);
  JsonWriter& hex(uint64_t value);  // as a string "0x7f...": addresses exceed what many readers keep exactly

  std::string take() { return std::move(text_); }

 private:
  void before_value();
  void open(char bracket);
  void close(char bracket);

  std::string text_;
  std::vector<bool> has_elements_;  // one per open object or array
  bool after_key_ = false;
};

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_JSON_WRITER_H_
