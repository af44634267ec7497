#include "tests/model/message_mutator.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

namespace stillpoint {
namespace {

constexpr uint32_t kVarint = 0, kFixed64 = 1, kDelimited = 2, kFixed32 = 5;
constexpr uint32_t kLikelyFieldNumbers = 64;  // text that happens to parse has larger ones, mostly
constexpr int kMaxDepth = 8;

bool read_varint(const std::string& bytes, size_t& at, uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

void write_varint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

bool read_fixed(const std::string& bytes, size_t& at, size_t size, uint64_t& value) {
  if (bytes.size() - at < size) return false;
  value = 0;
  for (size_t i = 0; i < size; ++i) value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[at++])) << (8 * i);
  return true;
}

void write_fixed(uint64_t value, size_t size, std::string& out) {
  for (size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

}  // namespace

bool MessageMutator::parse(const std::string& bytes, int depth, Fields& fields) {
  size_t at = 0;
  while (at < bytes.size()) {
    uint64_t tag = 0;
    if (!read_varint(bytes, at, tag) || (tag >> 3) == 0 || (tag >> 3) > kLikelyFieldNumbers) return false;
    Field field;
    field.number = static_cast<uint32_t>(tag >> 3);
    field.wire_type = static_cast<uint32_t>(tag & 7);
    if (field.wire_type == kVarint) {
      if (!read_varint(bytes, at, field.value)) return false;
    } else if (field.wire_type == kFixed64 || field.wire_type == kFixed32) {
      if (!read_fixed(bytes, at, field.wire_type == kFixed64 ? 8 : 4, field.value)) return false;
    } else if (field.wire_type == kDelimited) {
      uint64_t size = 0;
      if (!read_varint(bytes, at, size) || size > bytes.size() - at) return false;
      field.bytes = bytes.substr(at, size);
      at += size;
      field.is_message = !field.bytes.empty() && depth < kMaxDepth && parse(field.bytes, depth + 1, field.children);
    } else {
      return false;
    }
    fields.push_back(std::move(field));
  }
  return true;
}

std::string MessageMutator::serialize(const Fields& fields) {
  std::string out;
  for (const Field& field : fields) {
    write_varint(uint64_t{field.number} << 3 | field.wire_type, out);
    if (field.wire_type == kVarint) {
      write_varint(field.value, out);
    } else if (field.wire_type == kDelimited) {
      const std::string content = field.is_message ? serialize(field.children) : field.bytes;
      write_varint(content.size(), out);
      out += content;
    } else {
      write_fixed(field.value, field.wire_type == kFixed64 ? 8 : 4, out);
    }
  }
  return out;
}

void MessageMutator::collect(Fields& fields, std::vector<Fields*>& lists, std::vector<uint64_t>& values) {
  if (fields.empty()) return;
  lists.push_back(&fields);
  for (Field& field : fields) {
    if (field.wire_type != kDelimited) values.push_back(field.value);
    if (field.is_message) collect(field.children, lists, values);
  }
}

uint64_t MessageMutator::hostile_number(uint64_t old, const std::vector<uint64_t>& values) {
  static constexpr uint64_t kHostile[] = {0,
                                          1,
                                          4095,
                                          4096,
                                          0x7fffffff,
                                          0x80000000,
                                          0xffffffff,
                                          0x7ffffffff000,
                                          uint64_t{1} << 47,
                                          uint64_t{1} << 62,
                                          0x7fffffffffffffff,
                                          0x8000000000000000,
                                          0xfffffffffffff000,
                                          0xffffffff80000000,  // INT32_MIN as a varint
                                          0xffffffffffffffff};
  switch (pick(5)) {
    case 0:
      return old + 1;
    case 1:
      return old - 1;
    case 2:
      return old ^ uint64_t { 1 } << pick(64);
    case 3:
      if (!values.empty()) return values[pick(values.size())];
      [[fallthrough]];
    default:
      return kHostile[pick(std::size(kHostile))];
  }
}

void MessageMutator::change_value(Field& field, const std::vector<uint64_t>& values) {
  if (field.wire_type != kDelimited) {
    field.value = hostile_number(field.value, values);
    return;
  }
  if (field.is_message) {
    field.children.clear();
    return;
  }
  switch (pick(4)) {
    case 0:
      field.bytes.clear();
      break;
    case 1:
      field.bytes.resize(pick(field.bytes.size() + 1));
      break;
    case 2:
      field.bytes.resize(field.bytes.size() + 1 + pick(5000), static_cast<char>(pick(256)));
      break;
    default:
      if (!field.bytes.empty()) field.bytes[pick(field.bytes.size())] = static_cast<char>(pick(256));
  }
}

void MessageMutator::change(Fields& root) {
  std::vector<Fields*> lists;
  std::vector<uint64_t> values;
  collect(root, lists, values);
  if (lists.empty()) return;
  Fields& list = *lists[pick(lists.size())];
  const size_t at = pick(list.size());
  const auto position = list.begin() + static_cast<ptrdiff_t>(at);
  switch (pick(8)) {
    case 0:
      list.erase(position);
      break;
    case 1: {
      const Field copy = list[at];
      list.insert(position, 1 + pick(40), copy);
      break;
    }
    case 2:
      std::swap(list[at], list[pick(list.size())]);
      break;
    case 3: {
      const Fields& other = *lists[pick(lists.size())];
      const Field copy = other[pick(other.size())];
      list.insert(position, copy);
      break;
    }
    default:
      change_value(list[at], values);
  }
}

std::string MessageMutator::mutate(const std::string& message) {
  Fields fields;
  if (!parse(message, 0, fields)) return message;
  for (uint64_t changes = 1 + pick(4); changes > 0; --changes) change(fields);
  return serialize(fields);
}

}  // namespace stillpoint
