// Protobuf's wire format, written and read in place: no allocation, no exceptions, no library.
// It is what the SDK speaks with (its thread must not allocate while others are frozen inside malloc).
#ifndef STILLPOINT_HELPER_PROTOCOL_WIRE_H_
#define STILLPOINT_HELPER_PROTOCOL_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace stillpoint::protocol::wire {

enum class Type : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Writes fields into a buffer of the caller's. What does not fit is not written and makes ok() false for good. Zero
// values and empty strings are left out, as proto3 does.
class Writer {
 public:
  Writer(void* buffer, size_t capacity) : buffer_(static_cast<uint8_t*>(buffer)), capacity_(capacity) {}

  bool ok() const { return ok_; }
  const uint8_t* data() const { return buffer_; }
  size_t size() const { return size_; }

  void number(uint32_t field, uint64_t value) {
    if (value != 0) element(field, value);
  }
  // int32 and int64 alike: negative values take ten bytes.
  void signed_number(uint32_t field, int64_t value) { number(field, static_cast<uint64_t>(value)); }
  // As number(), zero included: for members of a oneof and unpacked repeated fields.
  void element(uint32_t field, uint64_t value) {
    tag(field, Type::kVarint);
    varint(value);
  }
  void bytes(uint32_t field, const void* data, size_t length) {
    if (length == 0) return;
    tag(field, Type::kBytes);
    varint(length);
    append(data, length);
  }
  void text(uint32_t field, const char* text) { bytes(field, text, std::strlen(text)); }
  // A value of a packed repeated field, between open() and close().
  void packed(int64_t value) { varint(static_cast<uint64_t>(value)); }

  // A nested message or packed field: what is written until close(open(field)) stands inside it.
  size_t open(uint32_t field) {
    tag(field, Type::kBytes);
    return size_;
  }
  void close(size_t mark) {
    if (!ok_) return;
    const size_t length = size_ - mark;
    uint8_t prefix[kMaxVarint];
    const size_t prefix_size = encode(length, prefix);
    if (capacity_ - size_ < prefix_size) {
      ok_ = false;
      return;
    }
    std::memmove(buffer_ + mark + prefix_size, buffer_ + mark, length);
    std::memcpy(buffer_ + mark, prefix, prefix_size);
    size_ += prefix_size;
  }

 private:
  static constexpr size_t kMaxVarint = 10;

  static size_t encode(uint64_t value, uint8_t* out) {
    size_t size = 0;
    for (; value >= 0x80; value >>= 7) out[size++] = static_cast<uint8_t>(value) | 0x80;
    out[size++] = static_cast<uint8_t>(value);
    return size;
  }
  void append(const void* data, size_t length) {
    if (!ok_ || capacity_ - size_ < length) {
      ok_ = false;
      return;
    }
    std::memcpy(buffer_ + size_, data, length);
    size_ += length;
  }
  void varint(uint64_t value) {
    uint8_t encoded[kMaxVarint];
    append(encoded, encode(value, encoded));
  }
  void tag(uint32_t field, Type type) { varint(uint64_t{field} << 3 | static_cast<uint32_t>(type)); }

  uint8_t* buffer_;
  size_t capacity_;
  size_t size_ = 0;
  bool ok_ = true;
};

// One field as it stands in a message. `data` points into the message.
struct Field {
  uint32_t number = 0;
  Type type = Type::kVarint;
  uint64_t value = 0;             // numbers
  const uint8_t* data = nullptr;  // kBytes: strings, nested messages, packed fields
  size_t size = 0;
};

// Goes through the fields of a message, which stays the caller's. Hostile bytes end the loop with failed() true.
class Reader {
 public:
  Reader(const void* data, size_t size) : at_(static_cast<const uint8_t*>(data)), end_(at_ + size) {}
  explicit Reader(const Field& message) : Reader(message.data, message.size) {}

  // False at the end of the message, or where it is malformed.
  bool next(Field& field) {
    if (failed_ || at_ == end_) return false;
    uint64_t tag = 0;
    if (!varint(tag) || tag >> 3 == 0 || tag >> 32 != 0) return fail();
    field = Field{};
    field.number = static_cast<uint32_t>(tag >> 3);
    field.type = static_cast<Type>(tag & 7);
    switch (field.type) {
      case Type::kVarint:
        return varint(field.value) || fail();
      case Type::kFixed64:
        return fixed(8, field.value) || fail();
      case Type::kFixed32:
        return fixed(4, field.value) || fail();
      case Type::kBytes:
        return slice(field) || fail();
    }
    return fail();  // groups, and types that do not exist
  }

  // Values of a packed field.
  bool next_packed(uint64_t& value) {
    if (failed_ || at_ == end_) return false;
    return varint(value) || fail();
  }

  bool failed() const { return failed_; }

 private:
  bool fail() {
    failed_ = true;
    return false;
  }
  bool varint(uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (at_ == end_) return false;
      const uint8_t byte = *at_++;
      value |= shift < 64 ? uint64_t{byte & 0x7fu} << shift : 0;
      if ((byte & 0x80) == 0) return true;
    }
    return false;  // longer than ten bytes
  }
  bool fixed(size_t size, uint64_t& value) {
    if (static_cast<size_t>(end_ - at_) < size) return false;
    value = 0;
    std::memcpy(&value, at_, size);
    at_ += size;
    return true;
  }
  bool slice(Field& field) {
    uint64_t length = 0;
    if (!varint(length) || length > static_cast<uint64_t>(end_ - at_)) return false;
    field.data = at_;
    field.size = static_cast<size_t>(length);
    at_ += length;
    return true;
  }

  const uint8_t* at_;
  const uint8_t* end_;
  bool failed_ = false;
};

}  // namespace stillpoint::protocol::wire

#endif  // STILLPOINT_HELPER_PROTOCOL_WIRE_H_
