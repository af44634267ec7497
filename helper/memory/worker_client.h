// The helper's side of one worker thread: gives it jobs and waits for them.
//
// Every wait ends: with the job, with the death of the task, or after a time
// without progress. After anything but an answer from the worker the client is
// lost: further jobs fail with the same error.
#ifndef STILLPOINT_HELPER_MEMORY_WORKER_CLIENT_H_
#define STILLPOINT_HELPER_MEMORY_WORKER_CLIENT_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "helper/memory/worker_abi.h"

namespace stillpoint {

// How pages are moved.
struct TransferOptions {
  uint32_t threads = 2;  // no more than the session's io_threads are used
  bool direct = false;   // O_DIRECT is set on the file; the worker turns it off where the file system refuses it
  // Writing only: pages that fault are written as zeroes and counted, instead of killing the task by SIGSEGV. Slower;
  // for kernels that have guard regions but do not report them (PopulatedPages::guards_known).
  bool tolerate_unreadable = false;
  uint64_t* unreadable_pages = nullptr;               // out, may be null
  std::function<void(uint64_t bytes_done)> progress;  // called now and then while waiting; may be empty
};

class WorkerClient {
 public:
  // Returns an error as soon as the worker's task is known to be gone. `doing` is a gerund: "writing pages".
  using Liveness = std::function<absl::Status(absl::string_view doing)>;
  using Describe = std::function<std::string(uint32_t tag)>;

  // `block` is the control block in the helper, `address` the same block in the task. WorkerSession makes these.
  WorkerClient(char* block, size_t length, uint32_t io_threads);

  void set_address(uint64_t address) { address_ = address; }
  void set_liveness(Liveness liveness) { liveness_ = std::move(liveness); }
  // How long a job may go on without visible progress: one system call, one chunk. Default two minutes.
  void set_patience(absl::Duration patience) { patience_ = patience; }

  // Makes the calls in order and sets their results. An error names the call that failed with describe(tag). More
  // calls than fit are made in several rounds.
  absl::Status calls(std::vector<worker::Call>& calls, const Describe& describe);

  // Writes memory to the task's fd: file bytes [0, file_size), zeroes where no extent is. Extents ascend by offset and
  // do not overlap there. Returns the checksum of each 4 MiB chunk.
  absl::StatusOr<std::vector<uint64_t>> write_pages(int fd_in_task, absl::Span<const worker::Extent> extents,
                                                    uint64_t file_size, const TransferOptions& options);
  // The way back. Chunks without an extent are not read. DATA_LOSS names a chunk that is damaged or missing; nothing of
  // it has reached memory.
  absl::Status read_pages(int fd_in_task, absl::Span<const worker::Extent> extents, uint64_t file_size,
                          absl::Span<const uint64_t> checksums, const TransferOptions& options);

  // Starts threads (see WorkerSession::spawn, which knows their places).
  absl::Status spawn(std::vector<worker::Spawn>& spawns);

  // Ends the task (exit_group). OK once the worker has taken the job or the task is gone.
  absl::Status exit();

  // For CallBatch: the block behind the Control page.
  char* arena() const { return block_ + kArenaOffset; }
  size_t arena_size() const { return length_ - kArenaOffset; }
  uint64_t arena_address() const { return address_ + kArenaOffset; }
  // Makes calls whose array stands at the arena's beginning, `limit` bytes of which may be used.
  absl::Status calls_within(absl::Span<worker::Call> calls, size_t limit, const Describe& describe);

 private:
  static constexpr size_t kArenaOffset = 4096;
  struct Round;

  worker::Control& control() const { return *reinterpret_cast<worker::Control*>(block_); }
  absl::Status run_job(worker::Job job, absl::string_view doing, const std::function<void(uint64_t)>& progress);
  absl::Status wait(uint32_t request, absl::string_view doing, const std::function<void(uint64_t)>& progress);
  absl::Status call_round(absl::Span<worker::Call> calls, const Describe& describe);
  absl::Status death(absl::Status status) const;
  absl::StatusOr<Round> next_round(absl::Span<const worker::Extent> extents, const Round& previous,
                                   uint64_t file_size) const;
  void place_round(const Round& round, absl::Span<const worker::Extent> extents, int fd, uint64_t file_size,
                   const TransferOptions& options);
  absl::Status transfer_error(absl::string_view doing) const;
  absl::Status transfer(worker::Job job, absl::string_view doing, int fd, absl::Span<const worker::Extent> extents,
                        uint64_t file_size, std::vector<uint64_t>& checksums, const TransferOptions& options);

  char* block_;
  size_t length_;
  uint32_t io_threads_;
  uint32_t request_ = 0;
  uint64_t address_ = 0;
  Liveness liveness_;
  absl::Duration patience_ = absl::Minutes(2);
  absl::Status lost_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_WORKER_CLIENT_H_
