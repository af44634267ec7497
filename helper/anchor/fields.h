// Fields of a structure in another process's memory. What is read there is the other process's word.
#ifndef STILLPOINT_HELPER_ANCHOR_FIELDS_H_
#define STILLPOINT_HELPER_ANCHOR_FIELDS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"

namespace stillpoint {

template <typename T>
absl::StatusOr<T> read_field(pid_t pid, uint64_t address) {
  T value;
  RETURN_IF_ERROR(read_memory(pid, address, &value, sizeof value));
  return value;
}

template <typename T>
absl::Status write_field(pid_t pid, uint64_t address, const T& value) {
  return write_memory(pid, address, &value, sizeof value);
}

// Up to its first zero byte.
inline absl::StatusOr<std::string> read_text_field(pid_t pid, uint64_t address, size_t size) {
  std::string text(size, '\0');
  RETURN_IF_ERROR(read_memory(pid, address, text.data(), size));
  return text.substr(0, text.find('\0'));
}

// Cut to what fits, terminated, the rest zeroed.
inline absl::Status write_text_field(pid_t pid, uint64_t address, size_t size, std::string text) {
  text.resize(size - 1);
  text.push_back('\0');
  return write_memory(pid, address, text.data(), size);
}

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_ANCHOR_FIELDS_H_
