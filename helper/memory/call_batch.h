// Builds system calls for a worker thread, with the data they point to.
//
//   CallBatch batch(session.main());
//   uint64_t path = batch.put_string("/data");
//   batch.add(SYS_openat, {AT_FDCWD_u64, path, O_RDONLY}, worker::kStopOnError, "open /data");
//   RETURN_IF_ERROR(batch.run());
//
// A batch that outgrows the control block is made in pieces while it is being
// built: what add() was given may have happened before run(). An error, once
// met, stays: later calls are not made and run() returns it.
#ifndef STILLPOINT_HELPER_MEMORY_CALL_BATCH_H_
#define STILLPOINT_HELPER_MEMORY_CALL_BATCH_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "helper/memory/worker_abi.h"
#include "helper/memory/worker_client.h"

namespace stillpoint {

class CallBatch {
 public:
  // `client` must outlive the batch and do nothing else until run() has returned.
  explicit CallBatch(WorkerClient& client);
  CallBatch(const CallBatch&) = delete;
  CallBatch& operator=(const CallBatch&) = delete;

  // Returns the call's index. `description` stands in the error: "mmap of libc.so.6: ENOMEM (...)".
  size_t add(long number, std::initializer_list<uint64_t> arguments, uint32_t flags, std::string description);

  // Copies bytes into the task and returns their address there, aligned to 16. They stay until data_limit() more bytes
  // were put; more than that at once is an error.
  uint64_t put(absl::string_view bytes);
  uint64_t put_string(absl::string_view text);  // with a NUL behind it
  template <typename T>
  uint64_t put_value(const T& value) {
    return put(absl::string_view(reinterpret_cast<const char*>(&value), sizeof value));
  }
  uint64_t reserve(size_t size);  // zeroes, for a result; see fetch()
  size_t data_limit() const { return half_size_; }

  // Makes all calls that were not made yet. The batch may be added to and run again.
  absl::Status run();

  // After run(). A call that was not made because of an error before it has -ECANCELED.
  int64_t result(size_t index) const { return calls_[index].result; }
  size_t size() const { return calls_.size(); }
  // The bytes now at an address that put() or reserve() returned.
  std::string fetch(uint64_t address, size_t size) const;

 private:
  uint64_t place(size_t size, char** at);

  WorkerClient& client_;
  std::vector<worker::Call> calls_;
  std::vector<std::string> descriptions_;
  size_t made_ = 0;   // calls before this index were made
  size_t call_area_;  // bytes at the arena's beginning that hold calls
  size_t half_size_;  // data stands in two halves behind, filled alternately
  size_t half_ = 0;
  size_t used_ = 0;  // of the half
  absl::Status status_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_CALL_BATCH_H_
