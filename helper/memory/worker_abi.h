// The layout shared by the helper and the worker: a small self-contained
// position-independent program (worker.cc) that runs in a snapshot, where it
// writes pages, and in a task being restored, where it makes system calls,
// reads pages and becomes the new process's threads. It is mapped from a sealed
// memfd; a second memfd, the control blocks, is mapped in both.
//
// No pointer of the helper ever stands here: all addresses are the worker's own.
// The helper believes nothing it reads back but results: sizes, offsets and
// addresses are its own.
#ifndef STILLPOINT_HELPER_MEMORY_WORKER_ABI_H_
#define STILLPOINT_HELPER_MEMORY_WORKER_ABI_H_

#include <cstdint>

namespace stillpoint::worker {

inline constexpr uint64_t kChunkSize = uint64_t{4} << 20;  // also the image's checksum grid

// A piece of memory and its place in a pages file.
struct Extent {
  uint64_t address;
  uint64_t length;  // bytes, a multiple of 4096
  uint64_t offset;  // in the file
};

// One system call of a batch. `flags` says what the batch does with its result.
struct Call {
  int64_t number;
  uint64_t arguments[6];
  int64_t result;  // set by the worker: value or -errno
  uint32_t flags;
  uint32_t tag;  // the helper's: index of the description of this call
};
enum CallFlags : uint32_t {
  kStopOnError = 1,      // a negative result ends the batch; failed_index is its index
  kExpectArgument0 = 2,  // the result must equal arguments[0] (mmap MAP_FIXED, dup2's number): else an error
};

// A thread for kSpawn: it runs the worker's loop on its own stack and its own control block.
struct Spawn {
  int32_t tid;          // wanted, in the task's own pid namespace; 0: any
  int32_t spawned_tid;  // out
  uint64_t stack_top;
  uint64_t control;  // address of its Control page
};

enum class Job : uint32_t {
  kNone = 0,
  kWritePages,  // extents -> file, checksum per kChunkSize of the file
  kReadPages,   // file -> extents, checksum per chunk compared
  kCalls,       // a batch
  kExit,        // exit_group(0)
  kSpawn,       // threads of this task
};

// First page of a control block. The arrays it names lie in the control block at byte offsets from its start.
struct Control {
  uint32_t magic;         // kMagic
  uint32_t request;       // futex: the helper increments it after filling in a job
  uint32_t done;          // futex: the worker sets it to `request` when the job is over
  uint32_t job;           // Job
  int64_t error;          // 0 or -errno of the failed operation
  uint64_t failed_index;  // chunk of the file, call or spawn that failed
  uint64_t failed_address;
  uint32_t threads;       // writers/readers to use, 1..kMaxThreads
  uint32_t direct;        // O_DIRECT is set on the file; cleared on EINVAL, after which the transfer is repeated
  int32_t fd;             // of the pages file in the worker's task
  uint32_t bad_checksum;  // 1: failed_index is a chunk whose checksum differs
  uint64_t extent_count;
  uint64_t extents;      // byte offset of Extent[], ascending by file offset; file bytes between them are zero
  uint64_t first_chunk;  // of the file: a large job is done in several rounds
  uint64_t chunk_count;
  uint64_t checksums;  // byte offset of uint64_t[chunk_count], from first_chunk on: out (write) or in (read)
  uint64_t file_size;  // bytes; a multiple of 4096 when `direct`
  uint64_t call_count;
  uint64_t calls;  // byte offset of Call[]
  uint64_t spawn_count;
  uint64_t spawns;      // byte offset of Spawn[]
  uint64_t staging;     // address of io_threads * kChunkSize of huge-page aligned memory
  uint64_t io_stacks;   // address of kIoStackSize bytes for each of the threads but the first
  uint64_t progress;    // bytes moved or calls made by this job, atomically increased
  uint64_t unreadable;  // out: pages that could not be read and stand as zeroes in the file (tolerate_unreadable)
  uint32_t tolerate_unreadable;  // kWritePages: survive pages that fault (guard regions the kernel does not report)
  uint32_t reset_pkru;           // the CPU has protection keys: give this thread access to all of them
  int64_t start_error;           // -errno where WorkerSession::enter() could not map the region
  uint32_t start_step;           // index of the mapping call that failed
};

inline constexpr uint32_t kMagic = 0x314b5753;  // "SWK1"
inline constexpr uint32_t kMaxThreads = 8;
inline constexpr uint64_t kStackSize = 16 << 10;    // of a task thread, a guard page below it not counted
inline constexpr uint64_t kIoStackSize = 16 << 10;  // of a thread that moves pages

static_assert(sizeof(Control) <= 4096);

}  // namespace stillpoint::worker

#endif  // STILLPOINT_HELPER_MEMORY_WORKER_ABI_H_
