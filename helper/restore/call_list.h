// System calls that the new process is to make, planned before it exists: plain values that tests can look at.
#ifndef STILLPOINT_HELPER_RESTORE_CALL_LIST_H_
#define STILLPOINT_HELPER_RESTORE_CALL_LIST_H_

#include <concepts>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace stillpoint {

// Bytes that a call is given by pointer; index into CallList::data().
struct DataRef {
  size_t index = 0;
};

struct Argument {
  Argument(std::integral auto v) : value(static_cast<uint64_t>(v)) {}  // NOLINT(google-explicit-constructor)
  Argument(const void* v) : value(reinterpret_cast<uint64_t>(v)) {}    // NOLINT(google-explicit-constructor)
  Argument(DataRef ref) : value(ref.index), is_data(true) {}           // NOLINT(google-explicit-constructor)
  uint64_t value = 0;
  bool is_data = false;
};

class CallList {
 public:
  struct Data {
    std::string bytes;
    // Places in `bytes` (offsets of 8-byte pointers) that take the address of earlier data.
    std::vector<std::pair<size_t, DataRef>> pointers;
  };
  struct Call {
    std::string what;  // "mmap of /usr/lib/libc.so.6 at 7f0000000000": what an error says
    long number = 0;
    std::vector<Argument> arguments;
    bool must_return_argument0 = false;
    bool may_fail = false;
  };

  DataRef data(std::string bytes, std::vector<std::pair<size_t, DataRef>> pointers = {}) {
    data_.push_back({std::move(bytes), std::move(pointers)});
    return DataRef{data_.size() - 1};
  }
  template <typename T>
  DataRef data_of(const T& value) {
    return data(std::string(reinterpret_cast<const char*>(&value), sizeof value));
  }
  // A terminating zero byte is added.
  DataRef text(const std::string& value) { return data(value + '\0'); }

  Call& add(std::string what, long number, std::vector<Argument> arguments) {
    calls_.push_back({std::move(what), number, std::move(arguments), false, false});
    return calls_.back();
  }

  const std::vector<Call>& calls() const { return calls_; }
  const std::vector<Data>& all_data() const { return data_; }
  bool empty() const { return calls_.empty(); }

 private:
  std::vector<Call> calls_;
  std::vector<Data> data_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_CALL_LIST_H_
