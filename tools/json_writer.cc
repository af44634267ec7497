#include "tools/json_writer.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace stillpoint::tools {
namespace {

void append_quoted(std::string& out, absl::string_view value) {
  out += '"';
  while (!value.empty()) {
    const size_t length = utf8_sequence_length(value);
    const char c = value[0];
    if (length == 0) {
      out += "\\ufffd";
      value.remove_prefix(1);
      continue;
    }
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      absl::StrAppend(&out, value.substr(0, length));
    }
    value.remove_prefix(length);
  }
  out += '"';
}

}  // namespace

size_t utf8_sequence_length(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty()) return 0;
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  size_t length = 0;
  if (lead >= 0xc2 && lead <= 0xdf) length = 2;
  if (lead >= 0xe0 && lead <= 0xef) length = 3;
  if (lead >= 0xf0 && lead <= 0xf4) length = 4;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and code points above U+10FFFF.
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) > 0x9f) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

void JsonWriter::before_value() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (has_elements_.empty()) return;
  if (has_elements_.back()) text_ += ',';
  has_elements_.back() = true;
}

void JsonWriter::open(char bracket) {
  before_value();
  text_ += bracket;
  has_elements_.push_back(false);
}

void JsonWriter::close(char bracket) {
  text_ += bracket;
  if (!has_elements_.empty()) has_elements_.pop_back();
}

JsonWriter& JsonWriter::begin_object() {
  open('{');
  return *this;
}
JsonWriter& JsonWriter::end_object() {
  close('}');
  return *this;
}
JsonWriter& JsonWriter::begin_array() {
  open('[');
  return *this;
}
JsonWriter& JsonWriter::end_array() {
  close(']');
  return *this;
}

JsonWriter& JsonWriter::key(absl::string_view name) {
  before_value();
  append_quoted(text_, name);
  text_ += ':';
  after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::string(absl::string_view value) {
  before_value();
  append_quoted(text_, value);
  return *this;
}

JsonWriter& JsonWriter::number(int64_t value) {
  before_value();
  absl::StrAppend(&text_, value);
  return *this;
}

JsonWriter& JsonWriter::unsigned_number(uint64_t value) {
  before_value();
  absl::StrAppend(&text_, value);
  return *this;
}

JsonWriter& JsonWriter::boolean(bool value) {
  before_value();
  text_ += value ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::hex(uint64_t value) { return string(absl::StrFormat("0x%x", value)); }

}  // namespace stillpoint::tools
