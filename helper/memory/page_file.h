// Pages files: where each page of memory stands in one, and writing one from
// outside the process. The worker (worker_client.h) writes the same bytes.
#ifndef STILLPOINT_HELPER_MEMORY_PAGE_FILE_H_
#define STILLPOINT_HELPER_MEMORY_PAGE_FILE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "helper/memory/range.h"
#include "helper/memory/worker_abi.h"

namespace stillpoint {

// Gives memory its place in a pages file, one piece behind the other.
class PageFileLayout {
 public:
  // `address` and `length` are multiples of the page size. Returns the piece's offset in the file.
  uint64_t add(uint64_t address, uint64_t length);
  uint64_t add(Range range) { return add(range.start, range.size()); }

  const std::vector<worker::Extent>& extents() const { return extents_; }
  uint64_t file_size() const { return file_size_; }

 private:
  std::vector<worker::Extent> extents_;
  uint64_t file_size_ = 0;
};

// Turns O_DIRECT on (F_SETFL, so for every fd of the open file description). False: the file system has no such thing,
// or feature "direct_io" is disabled, and the file stays buffered.
bool set_direct(int fd);

// Writes a file front to back in chunks of 4 MiB and takes their checksums on the way.
class ChunkedFileWriter {
 public:
  // `fd` stays the caller's; `direct` as set_direct returned it. `name` is for messages.
  static absl::StatusOr<ChunkedFileWriter> create(int fd, bool direct, absl::string_view name);

  // Room for the next bytes, at least one and at most `wanted`; commit() what was put there.
  absl::Span<char> room(size_t wanted);
  absl::Status commit(size_t size);
  absl::Status append(absl::string_view bytes);
  // Writes what is left and returns the checksums of all chunks. Once. Without `direct` any size will do, with it
  // whatever is behind the last whole page is written buffered.
  absl::StatusOr<std::vector<uint64_t>> finish();
  uint64_t size() const { return chunks_.size() * worker::kChunkSize + used_; }

 private:
  struct Unmap {
    void operator()(char* memory) const;
  };
  ChunkedFileWriter(int fd, bool direct, absl::string_view name, char* staging);
  absl::Status flush();

  int fd_;
  bool direct_;
  std::string name_;
  std::unique_ptr<char, Unmap> staging_;
  size_t used_ = 0;
  std::vector<uint64_t> chunks_;
};

// Writes the extents' memory of a process that does not run (or whose memory does not change) to `fd`, reading it from
// outside: process_vm_readv, and /proc/PID/mem for pages whose protection forbids that. Same file and checksums as
// WorkerClient::write_pages. Extents as in a PageFileLayout: ascending by offset, zeroes between them.
absl::StatusOr<std::vector<uint64_t>> write_pages_from_outside(
    pid_t pid, absl::Span<const worker::Extent> extents, uint64_t file_size, int fd, bool direct,
    const std::function<void(uint64_t bytes_done)>& progress = nullptr);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_PAGE_FILE_H_
