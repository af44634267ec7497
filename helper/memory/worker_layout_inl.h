// Implementation of WorkerLayout::for_each_mapping_call.
#ifndef STILLPOINT_HELPER_MEMORY_WORKER_LAYOUT_INL_H_
#define STILLPOINT_HELPER_MEMORY_WORKER_LAYOUT_INL_H_

#include <sys/mman.h>

#include "helper/memory/worker_layout.h"

namespace stillpoint {

template <typename Make>
void WorkerLayout::for_each_mapping_call(uint64_t base, int code_fd, int control_fd, Make make) const {
  constexpr int kReserve = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  constexpr int kPrivate = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  constexpr int kReadWrite = PROT_READ | PROT_WRITE;
  // The reservation is what refuses an occupied address; everything else goes over it, and what stays of it is guard.
  if (!make(mapping_call(base, region_size_, PROT_NONE, kReserve, -1))) return;
  if (!make(mapping_call(base, code_, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, code_fd))) return;
  if (!make(mapping_call(io_stacks(base), io_stacks_size(), kReadWrite, kPrivate, -1))) return;
  for (uint64_t i = 0; i < threads_; ++i) {
    if (!make(mapping_call(stack_bottom(base, i), worker::kStackSize, kReadWrite, kPrivate, -1))) return;
  }
  if (!make(mapping_call(controls(base), control_file_size(), kReadWrite, MAP_SHARED | MAP_FIXED, control_fd))) return;
  if (!make(mapping_call(staging(base), staging_size(), kReadWrite, kPrivate, -1))) return;
  make(advice_call(staging(base), staging_size(), MADV_HUGEPAGE));
}

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_WORKER_LAYOUT_INL_H_
