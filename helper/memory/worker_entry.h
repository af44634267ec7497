// The way from the helper's own code into the worker, in a freshly cloned child.
// Nothing here allocates, locks or touches thread-local storage.
#ifndef STILLPOINT_HELPER_MEMORY_WORKER_ENTRY_H_
#define STILLPOINT_HELPER_MEMORY_WORKER_ENTRY_H_

#include <cstdint>

#include "helper/memory/worker_abi.h"

namespace stillpoint {

// Blocks every signal and takes back what the C library registered with the kernel for the calling thread: restartable
// sequences, robust futexes, clear_child_tid, signal stack. The kernel would write to their memory, which is about to
// go. The C library must not be used to start threads afterwards.
void leave_c_library();

int64_t raw_call(const worker::Call& call);  // -errno on failure
[[noreturn]] void raw_exit(int status);
[[noreturn]] void jump_to_worker(uint64_t rip, uint64_t rsp, uint64_t rdi);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_WORKER_ENTRY_H_
