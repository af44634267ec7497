#include "helper/memory/worker_layout.h"

#include <sys/syscall.h>

#include "helper/base/syscalls.h"

namespace stillpoint {
namespace {

constexpr uint64_t kHugePageSize = uint64_t{2} << 20;
constexpr uint64_t kStackStride = worker::kStackSize + kPageSize;  // with its guard page

}  // namespace

WorkerLayout::WorkerLayout(const SessionSize& size, size_t code_size)
    : code_(page_ceil(code_size)),
      threads_(static_cast<uint64_t>(size.thread_count)),
      io_threads_(static_cast<uint64_t>(size.io_threads)),
      main_control_(page_ceil(size.control_bytes)),
      thread_control_(page_ceil(size.thread_control_bytes)) {
  // Padding for any base: the staging memory is aligned to huge pages.
  region_size_ = controls(0) + control_file_size() + kHugePageSize + staging_size();
}

uint64_t WorkerLayout::stack_bottom(uint64_t base, uint64_t i) const {
  return io_stacks(base) + io_stacks_size() + i * kStackStride + kPageSize;
}

uint64_t WorkerLayout::controls(uint64_t base) const {
  return io_stacks(base) + io_stacks_size() + threads_ * kStackStride + kPageSize;
}

uint64_t WorkerLayout::staging(uint64_t base) const {
  return (controls(base) + control_file_size() + kHugePageSize - 1) & ~(kHugePageSize - 1);
}

worker::Call mapping_call(uint64_t address, uint64_t length, int protection, int flags, int fd) {
  worker::Call call = {};
  call.number = SYS_mmap;
  call.arguments[0] = address;
  call.arguments[1] = length;
  call.arguments[2] = static_cast<uint64_t>(protection);
  call.arguments[3] = static_cast<uint64_t>(flags);
  call.arguments[4] = static_cast<uint64_t>(static_cast<int64_t>(fd));
  call.flags = worker::kStopOnError | worker::kExpectArgument0;
  return call;
}

worker::Call advice_call(uint64_t address, uint64_t length, int advice) {
  worker::Call call = {};
  call.number = SYS_madvise;
  call.arguments[0] = address;
  call.arguments[1] = length;
  call.arguments[2] = static_cast<uint64_t>(advice);
  return call;
}

}  // namespace stillpoint
