// Where the parts of the worker stand in the task: one contiguous region
//
//   [code][I/O stacks][guard, stack]*threads[control blocks][pad][staging]
//
// computed from the sizes and a base address, so that helper and task agree
// without talking. The control blocks stand in the same order in their memfd.
#ifndef STILLPOINT_HELPER_MEMORY_WORKER_LAYOUT_H_
#define STILLPOINT_HELPER_MEMORY_WORKER_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "helper/memory/worker_abi.h"

namespace stillpoint {

// What a session needs. Sizes are bytes and are rounded up to pages.
struct SessionSize {
  // Of the main thread's control block: Control page and room for calls, data, extents, checksums.
  size_t control_bytes = size_t{1} << 20;
  int thread_count = 1;                            // task threads, the main one included: 1 for a snapshot
  int io_threads = 2;                              // that move pages, 1..worker::kMaxThreads
  size_t thread_control_bytes = size_t{64} << 10;  // of every other thread's control block
};

class WorkerLayout {
 public:
  WorkerLayout() = default;
  // `size` must be valid (WorkerSession::create looks at it).
  WorkerLayout(const SessionSize& size, size_t code_size);

  // Independent of the base, which may be any page.
  uint64_t region_size() const { return region_size_; }
  uint64_t control_file_size() const { return main_control_ + (threads_ - 1) * thread_control_; }
  uint64_t code_size() const { return code_; }
  uint64_t thread_count() const { return threads_; }

  // Of thread i's block in the control memfd, and its length.
  uint64_t control_offset(uint64_t i) const { return i == 0 ? 0 : main_control_ + (i - 1) * thread_control_; }
  uint64_t control_length(uint64_t i) const { return i == 0 ? main_control_ : thread_control_; }

  uint64_t io_stacks(uint64_t base) const { return base + code_; }
  uint64_t stack_bottom(uint64_t base, uint64_t i) const;
  uint64_t stack_top(uint64_t base, uint64_t i) const { return stack_bottom(base, i) + worker::kStackSize; }
  uint64_t controls(uint64_t base) const;
  uint64_t control(uint64_t base, uint64_t i) const { return controls(base) + control_offset(i); }
  uint64_t staging(uint64_t base) const;  // aligned to 2 MiB
  uint64_t staging_size() const { return io_threads_ * worker::kChunkSize; }
  uint64_t io_stacks_size() const { return io_threads_ * worker::kIoStackSize; }

  // Calls make(worker::Call) for every system call that maps the region, in order; stops at the first that returns
  // false. Allocates nothing: usable in a process that was just cloned. Only calls with flags must succeed.
  template <typename Make>
  void for_each_mapping_call(uint64_t base, int code_fd, int control_fd, Make make) const;

 private:
  uint64_t code_ = 0, threads_ = 0, io_threads_ = 0, main_control_ = 0, thread_control_ = 0, region_size_ = 0;
};

// mmap as a call of a batch; `flags` are MAP_*.
worker::Call mapping_call(uint64_t address, uint64_t length, int protection, int flags, int fd);
// A call whose failure does not matter.
worker::Call advice_call(uint64_t address, uint64_t length, int advice);

}  // namespace stillpoint

#include "helper/memory/worker_layout_inl.h"  // IWYU pragma: export

#endif  // STILLPOINT_HELPER_MEMORY_WORKER_LAYOUT_H_
