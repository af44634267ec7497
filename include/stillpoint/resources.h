// What a program declares about its resources.
// Any thread may call these; nothing here is async-signal-safe.
#ifndef STILLPOINT_RESOURCES_H_
#define STILLPOINT_RESOURCES_H_

#include <stillpoint/status.h>

#include <cstddef>
#include <utility>

namespace stillpoint {
inline namespace v0 {

// Memory that is not saved and is zero-filled in a new life: whole pages inside [start, start + length) bytes. It stays
// so until include_memory of the same range. Unmapping or reusing the memory does not end it.
inline Status exclude_memory(const void* start, std::size_t length) {
  const stillpoint_code_t code = stillpoint_exclude_memory(start, length);
  if (code == STILLPOINT_OK) return Status();
  return Status(static_cast<Code>(code), "exclude_memory: null pointer, length 0, or a range that wraps around");
}

inline Status include_memory(const void* start, std::size_t length) {
  const stillpoint_code_t code = stillpoint_include_memory(start, length);
  if (code == STILLPOINT_OK) return Status();
  return Status(static_cast<Code>(code), "include_memory: this range is not excluded");
}

// The same for as long as the object lives: declare it beside the buffer.
class [[nodiscard]] ExcludedMemory {
 public:
  ExcludedMemory() = default;
  ExcludedMemory(const void* start, std::size_t length) : start_(start), length_(length) {
    status_ = exclude_memory(start, length);
    if (!status_.ok()) start_ = nullptr;
  }
  ExcludedMemory(ExcludedMemory&& other) noexcept
      : start_(std::exchange(other.start_, nullptr)), length_(other.length_), status_(std::move(other.status_)) {}
  ExcludedMemory& operator=(ExcludedMemory&& other) noexcept {
    if (this != &other) {
      reset();
      start_ = std::exchange(other.start_, nullptr);
      length_ = other.length_;
      status_ = std::move(other.status_);
    }
    return *this;
  }
  ~ExcludedMemory() { reset(); }

  void reset() {
    if (start_ != nullptr) stillpoint_include_memory(std::exchange(start_, nullptr), length_);
  }
  const Status& status() const { return status_; }

 private:
  const void* start_ = nullptr;
  std::size_t length_ = 0;
  Status status_;
};

}  // namespace v0
}  // namespace stillpoint

#endif  // STILLPOINT_RESOURCES_H_
