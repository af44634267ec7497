// A forked child of the test that becomes the worker, and memory to move about.
#ifndef STILLPOINT_TESTS_MEMORY_WORKER_PROCESS_H_
#define STILLPOINT_TESTS_MEMORY_WORKER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "helper/base/unique_fd.h"
#include "helper/memory/range.h"
#include "helper/memory/worker_abi.h"
#include "helper/memory/worker_session.h"

namespace stillpoint {

// Killed and reaped when the object goes.
class WorkerProcess {
 public:
  // Forks; the child runs `prepare` and enters the worker. Everything the test has mapped so far, the child has too.
  static absl::StatusOr<WorkerProcess> start(const SessionSize& size, const std::function<void()>& prepare = nullptr);
  WorkerProcess(WorkerProcess&& other) noexcept
      : session_(std::move(other.session_)), pid_(std::exchange(other.pid_, 0)) {}
  ~WorkerProcess();

  WorkerSession& session() { return session_; }
  WorkerClient& main() { return session_.main(); }
  pid_t pid() const { return pid_; }
  int wait_for_end();  // reaps; the wait status

 private:
  WorkerProcess(WorkerSession session, pid_t pid) : session_(std::move(session)), pid_(pid) {}
  WorkerSession session_;
  pid_t pid_ = 0;
};

// An address with `size` free bytes behind it, here and in children forked soon.
uint64_t free_address(uint64_t size);

// Private anonymous memory, unmapped when the object goes.
class TestMemory {
 public:
  explicit TestMemory(size_t size);
  TestMemory(const TestMemory&) = delete;
  TestMemory& operator=(const TestMemory&) = delete;
  ~TestMemory();
  char* data() const { return data_; }
  uint64_t address() const { return reinterpret_cast<uint64_t>(data_); }
  size_t size() const { return size_; }
  void fill(uint64_t seed);  // every 8 bytes different
  absl::Span<const char> bytes() const { return {data_, size_}; }

 private:
  char* data_;
  size_t size_;
};

// An unlinked file in `directory`, open for reading and writing.
UniqueFd temporary_file(const std::string& directory);
std::string file_contents(int fd);
std::vector<uint64_t> checksums_by_library(const std::string& contents);
// What the file should hold, put together byte for byte.
std::string expected_contents(absl::Span<const worker::Extent> extents, uint64_t file_size);
std::string memory_of(pid_t pid, uint64_t address, size_t size);

}  // namespace stillpoint

#endif  // STILLPOINT_TESTS_MEMORY_WORKER_PROCESS_H_
