// Moving pages between memory and a file, in the worker.
//
// The file is cut into chunks of kChunkSize. Threads take chunks one after the
// other; each has a staging buffer of one chunk, so that the file sees large
// aligned transfers however scattered the pages are, and each chunk's checksum is
// that of the bytes in the file.
#include <linux/sched.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "helper/memory/worker_abi.h"
#include "helper/memory/worker_system.h"

namespace stillpoint::worker {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kDirectFlag = 040000;  // O_DIRECT on x86-64
constexpr uint64_t kGetFlags = 3, kSetFlags = 4;

struct Transfer {
  Control* control;
  const Extent* extents;
  uint64_t* checksums;
  bool write;
  uint64_t self;  // pid
  uint64_t next_chunk = 0;
  uint32_t stop = 0;
};

struct Mover {
  Transfer* transfer;
  char* staging;
  int32_t tid;  // zeroed by the kernel when the thread has left its memory
};

// The first failure is the one that is reported.
void fail(Transfer& transfer, int64_t error, uint64_t chunk, uint64_t address, bool bad_checksum) {
  if (__atomic_exchange_n(&transfer.stop, 1u, __ATOMIC_ACQ_REL) != 0) return;
  transfer.control->error = error;
  transfer.control->failed_index = chunk;
  transfer.control->failed_address = address;
  transfer.control->bad_checksum = bad_checksum ? 1 : 0;
}

// O_DIRECT was accepted on open but not for this transfer (alignment wider than ours): go on without it.
bool give_up_direct(Control* control) {
  if (__atomic_load_n(&control->direct, __ATOMIC_RELAXED) == 0) return false;
  const uint64_t fd = static_cast<uint64_t>(control->fd);
  const int64_t flags = system_call(__NR_fcntl, fd, kGetFlags);
  if (flags < 0) return false;
  if (system_call(__NR_fcntl, fd, kSetFlags, static_cast<uint64_t>(flags) & ~kDirectFlag) < 0) return false;
  __atomic_store_n(&control->direct, 0u, __ATOMIC_RELAXED);
  return true;
}

// Whole buffer to or from the file. 0 or -errno; -ENODATA: the file ends early.
int64_t transfer_file(Control* control, bool write, char* buffer, uint64_t size, uint64_t offset) {
  const uint64_t fd = static_cast<uint64_t>(control->fd);
  while (size > 0) {
    // Another thread may have turned O_DIRECT off since this call was made: what it failed with is only final without.
    const bool direct = __atomic_load_n(&control->direct, __ATOMIC_RELAXED) != 0;
    const int64_t n =
        system_call(write ? __NR_pwrite64 : __NR_pread64, fd, reinterpret_cast<uint64_t>(buffer), size, offset);
    if (n == -kEINTR) continue;
    if (n == -kEINVAL && direct && (give_up_direct(control) || control->direct == 0)) continue;
    if (n < 0) return n;
    if (n == 0) return write ? -kEIO : -kENODATA;
    buffer += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<uint64_t>(n);
  }
  return 0;
}

// Copies memory that may fault, through the kernel. Pages that cannot be read become zeroes.
void copy_tolerantly(Transfer& transfer, uint64_t chunk, char* to, uint64_t from, uint64_t size) {
  struct {
    uint64_t base, length;
  } local, remote;
  while (size > 0) {
    local = {reinterpret_cast<uint64_t>(to), size};
    remote = {from, size};
    const int64_t n = system_call(__NR_process_vm_readv, transfer.self, reinterpret_cast<uint64_t>(&local), 1,
                                  reinterpret_cast<uint64_t>(&remote), 1, 0);
    if (n == -kEINTR) continue;
    uint64_t moved = n > 0 ? static_cast<uint64_t>(n) : 0;
    if (moved == 0) {
      if (n != -kEFAULT) return fail(transfer, n < 0 ? n : -kEIO, chunk, from, false);
      moved = kPage - from % kPage;
      if (moved > size) moved = size;
      zero_bytes(to, moved);
      __atomic_fetch_add(&transfer.control->unreadable, 1, __ATOMIC_RELAXED);
    }
    to += moved;
    from += moved;
    size -= moved;
  }
}

// Index of the first extent that ends behind `offset`; extent_count when there is none.
uint64_t find_extent(const Transfer& transfer, uint64_t offset) {
  uint64_t low = 0, high = transfer.control->extent_count;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    const Extent& extent = transfer.extents[middle];
    if (extent.offset + extent.length <= offset) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Calls visit(staging offset, memory address, length) for every piece of memory in the file's bytes [begin, end).
template <typename Visitor>
void for_each_piece(const Transfer& transfer, uint64_t begin, uint64_t end, Visitor visit) {
  const uint64_t count = transfer.control->extent_count;
  for (uint64_t i = find_extent(transfer, begin); i < count && transfer.extents[i].offset < end; ++i) {
    const Extent& extent = transfer.extents[i];
    const uint64_t from = extent.offset > begin ? extent.offset : begin;
    const uint64_t extent_end = extent.offset + extent.length;
    const uint64_t to = extent_end < end ? extent_end : end;
    visit(from - begin, extent.address + (from - extent.offset), to - from);
  }
}

void write_chunk(Transfer& transfer, char* staging, uint64_t chunk, uint64_t begin, uint64_t end) {
  const bool tolerant = transfer.control->tolerate_unreadable != 0;
  uint64_t filled = 0;
  for_each_piece(transfer, begin, end, [&](uint64_t at, uint64_t address, uint64_t length) {
    if (at > filled) zero_bytes(staging + filled, at - filled);
    if (tolerant) {
      copy_tolerantly(transfer, chunk, staging + at, address, length);
    } else {
      copy_bytes(staging + at, reinterpret_cast<const void*>(address), length);
    }
    filled = at + length;
  });
  if (filled < end - begin) zero_bytes(staging + filled, end - begin - filled);
  transfer.checksums[chunk - transfer.control->first_chunk] = XXH3_64bits(staging, end - begin);
  const int64_t error = transfer_file(transfer.control, true, staging, end - begin, begin);
  if (error != 0) fail(transfer, error, chunk, 0, false);
}

// Nothing of a chunk reaches memory before its checksum is right.
void read_chunk(Transfer& transfer, char* staging, uint64_t chunk, uint64_t begin, uint64_t end) {
  const uint64_t first = find_extent(transfer, begin);
  if (first == transfer.control->extent_count || transfer.extents[first].offset >= end) return;
  const int64_t error = transfer_file(transfer.control, false, staging, end - begin, begin);
  if (error != 0) return fail(transfer, error, chunk, 0, false);
  if (XXH3_64bits(staging, end - begin) != transfer.checksums[chunk - transfer.control->first_chunk]) {
    return fail(transfer, 0, chunk, 0, true);
  }
  for_each_piece(transfer, begin, end, [&](uint64_t at, uint64_t address, uint64_t length) {
    copy_bytes(reinterpret_cast<void*>(address), staging + at, length);
  });
}

void move_chunks(void* argument) {
  const Mover& mover = *static_cast<Mover*>(argument);
  Transfer& transfer = *mover.transfer;
  const Control& control = *transfer.control;
  while (load_acquire(&transfer.stop) == 0) {
    const uint64_t index = __atomic_fetch_add(&transfer.next_chunk, 1, __ATOMIC_RELAXED);
    if (index >= control.chunk_count) return;
    const uint64_t chunk = control.first_chunk + index;
    const uint64_t begin = chunk * kChunkSize;
    if (begin >= control.file_size) return;
    const uint64_t end = begin + kChunkSize < control.file_size ? begin + kChunkSize : control.file_size;
    if (transfer.write) {
      write_chunk(transfer, mover.staging, chunk, begin, end);
    } else {
      read_chunk(transfer, mover.staging, chunk, begin, end);
    }
    __atomic_fetch_add(&transfer.control->progress, end - begin, __ATOMIC_RELAXED);
  }
}

// CLEARTID says that the thread has left its stack; it stays visible as a task of the process a little longer.
void wait_until_gone(Transfer& transfer, Mover& mover, int64_t tid) {
  for (int32_t now; (now = load_acquire(&mover.tid)) != 0;) {
    futex_wait(reinterpret_cast<uint32_t*>(&mover.tid), static_cast<uint32_t>(now));
  }
  while (system_call(__NR_tgkill, transfer.self, static_cast<uint64_t>(tid), 0) == 0) sleep_ns(20'000);
}

}  // namespace

void transfer_pages(Control* control, bool write) {
  char* block = reinterpret_cast<char*>(control);
  Transfer transfer = {};
  transfer.control = control;
  transfer.extents = reinterpret_cast<const Extent*>(block + control->extents);
  transfer.checksums = reinterpret_cast<uint64_t*>(block + control->checksums);
  transfer.write = write;
  transfer.self = static_cast<uint64_t>(system_call(__NR_getpid));

  uint32_t wanted = control->threads < 1 ? 1 : control->threads;
  if (wanted > kMaxThreads) wanted = kMaxThreads;
  if (wanted > control->chunk_count)
    wanted = control->chunk_count > 0 ? static_cast<uint32_t>(control->chunk_count) : 1;
  Mover movers[kMaxThreads];
  int64_t tids[kMaxThreads];
  uint32_t running = 1;
  movers[0] = {&transfer, reinterpret_cast<char*>(control->staging), 0};
  for (; running < wanted; ++running) {
    Mover& mover = movers[running];
    mover = {&transfer, movers[0].staging + running * kChunkSize, 1};
    constexpr uint64_t kFlags =
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
    tids[running] =
        worker_clone(kFlags, control->io_stacks + running * kIoStackSize, nullptr, &mover.tid, &mover, move_chunks);
    if (tids[running] < 0) break;  // RLIMIT_NPROC, a seccomp filter: fewer threads will do
  }
  move_chunks(&movers[0]);
  for (uint32_t i = 1; i < running; ++i) wait_until_gone(transfer, movers[i], tids[i]);
}

}  // namespace stillpoint::worker
