#include "helper/memory/page_file.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"

namespace stillpoint {
namespace {

using worker::Extent;
using worker::kChunkSize;

bool clear_direct(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

// The memory of another process, read in as few system calls as possible.
class MemoryReader {
 public:
  explicit MemoryReader(pid_t pid) : pid_(pid) {}

  // Gathers `pieces`, in order, into `to`, which has room for all of them. The pieces are used up.
  absl::Status gather(std::vector<iovec>& pieces, char* to) {
    size_t first = 0;
    while (first < pieces.size()) {
      size_t moved = read_some(pieces, first, to);
      if (moved == 0) {
        const size_t in_page = kPageSize - reinterpret_cast<uint64_t>(pieces[first].iov_base) % kPageSize;
        moved = std::min(pieces[first].iov_len, in_page);
        RETURN_IF_ERROR(read_protected(reinterpret_cast<uint64_t>(pieces[first].iov_base), to, moved));
      }
      to += moved;
      advance(pieces, first, moved);
    }
    return absl::OkStatus();
  }

 private:
  size_t read_some(const std::vector<iovec>& pieces, size_t first, char* to) const {
    const size_t count = std::min<size_t>(pieces.size() - first, IOV_MAX);
    iovec local = {to, 0};
    for (size_t i = first; i < first + count; ++i) local.iov_len += pieces[i].iov_len;
    const ssize_t n = ::process_vm_readv(pid_, &local, 1, &pieces[first], count, 0);
    return n > 0 ? static_cast<size_t>(n) : 0;
  }

  static void advance(std::vector<iovec>& pieces, size_t& first, size_t moved) {
    while (moved > 0) {
      iovec& piece = pieces[first];
      const size_t step = std::min(moved, piece.iov_len);
      piece.iov_base = static_cast<char*>(piece.iov_base) + step;
      piece.iov_len -= step;
      moved -= step;
      if (piece.iov_len == 0) ++first;
    }
  }

  absl::Status read_protected(uint64_t address, char* to, size_t size) {
    if (!mem_.valid()) {
      const std::string path = absl::StrCat("/proc/", pid_, "/mem");
      mem_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (!mem_.valid()) return errno_status(errno, absl::StrCat("open ", path));
    }
    return pread_all(mem_.get(), to, size, address, absl::StrCat("memory of pid ", pid_, " at 0x", absl::Hex(address)));
  }

  pid_t pid_;
  UniqueFd mem_;
};

}  // namespace

uint64_t PageFileLayout::add(uint64_t address, uint64_t length) {
  const uint64_t offset = file_size_;
  file_size_ += length;
  if (length == 0) return offset;
  if (!extents_.empty() && extents_.back().address + extents_.back().length == address) {
    extents_.back().length += length;
  } else {
    extents_.push_back({.address = address, .length = length, .offset = offset});
  }
  return offset;
}

bool set_direct(int fd) {
  if (feature_disabled("direct_io")) return false;
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_DIRECT) == 0;
}

void ChunkedFileWriter::Unmap::operator()(char* memory) const { ::munmap(memory, kChunkSize); }

ChunkedFileWriter::ChunkedFileWriter(int fd, bool direct, absl::string_view name, char* staging)
    : fd_(fd), direct_(direct), name_(name), staging_(staging) {}

absl::StatusOr<ChunkedFileWriter> ChunkedFileWriter::create(int fd, bool direct, absl::string_view name) {
  void* const staging = ::mmap(nullptr, kChunkSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (staging == MAP_FAILED) return errno_status(errno, absl::StrCat("mmap of a buffer to write ", name));
  ::madvise(staging, kChunkSize, MADV_HUGEPAGE);  // advice: any answer will do
  return ChunkedFileWriter(fd, direct, name, static_cast<char*>(staging));
}

absl::Span<char> ChunkedFileWriter::room(size_t wanted) {
  return absl::Span<char>(staging_.get() + used_, std::min<size_t>(wanted, kChunkSize - used_));
}

absl::Status ChunkedFileWriter::commit(size_t size) {
  used_ += size;
  return used_ == kChunkSize ? flush() : absl::OkStatus();
}

absl::Status ChunkedFileWriter::append(absl::string_view bytes) {
  while (!bytes.empty()) {
    const absl::Span<char> place = room(bytes.size());
    std::memcpy(place.data(), bytes.data(), place.size());
    bytes.remove_prefix(place.size());
    RETURN_IF_ERROR(commit(place.size()));
  }
  return absl::OkStatus();
}

absl::Status ChunkedFileWriter::flush() {
  const uint64_t offset = chunks_.size() * kChunkSize;
  if (direct_ && used_ % kPageSize != 0 && clear_direct(fd_)) direct_ = false;
  absl::Status status = pwrite_all(fd_, staging_.get(), used_, offset, name_);
  // O_DIRECT was accepted for the file, but not for these transfers: on without it.
  if (absl::IsInvalidArgument(status) && direct_ && clear_direct(fd_)) {
    direct_ = false;
    status = pwrite_all(fd_, staging_.get(), used_, offset, name_);
  }
  RETURN_IF_ERROR(status);
  chunks_.push_back(XXH3_64bits(staging_.get(), used_));
  used_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint64_t>> ChunkedFileWriter::finish() {
  if (used_ > 0) RETURN_IF_ERROR(flush());
  return std::move(chunks_);
}

absl::StatusOr<std::vector<uint64_t>> write_pages_from_outside(pid_t pid, absl::Span<const Extent> extents,
                                                               uint64_t file_size, int fd, bool direct,
                                                               const std::function<void(uint64_t)>& progress) {
  ASSIGN_OR_RETURN(ChunkedFileWriter writer,
                   ChunkedFileWriter::create(fd, direct, absl::StrCat("the pages file of pid ", pid)));
  MemoryReader reader(pid);
  std::vector<iovec> pieces;
  size_t next = 0;
  for (uint64_t begin = 0; begin < file_size; begin += kChunkSize) {
    const uint64_t end = std::min(begin + kChunkSize, file_size);
    char* const chunk = writer.room(kChunkSize).data();
    uint64_t filled = begin;
    while (filled < end) {
      // Neighbours in the file go into one gather; a hole ends it.
      pieces.clear();
      const uint64_t start = filled;
      while (next < extents.size() && filled < end) {
        const Extent& extent = extents[next];
        if (extent.length > file_size || extent.offset > file_size - extent.length ||
            extent.offset + extent.length <= filled) {
          return absl::InvalidArgumentError(absl::StrCat("pages at 0x", absl::Hex(extent.address),
                                                         " do not fit at offset ", extent.offset,
                                                         " of a pages file of ", file_size, " bytes"));
        }
        if (extent.offset > filled) break;
        const uint64_t skip = filled - extent.offset;
        const uint64_t length = std::min(extent.length - skip, end - filled);
        pieces.push_back({reinterpret_cast<void*>(extent.address + skip), length});
        filled += length;
        if (skip + length == extent.length) ++next;
      }
      RETURN_IF_ERROR(reader.gather(pieces, chunk + (start - begin)));
      const uint64_t hole_end = next < extents.size() ? std::min(extents[next].offset, end) : end;
      if (hole_end > filled) {
        std::memset(chunk + (filled - begin), 0, hole_end - filled);
        filled = hole_end;
      }
    }
    RETURN_IF_ERROR(writer.commit(end - begin));
    if (progress) progress(end);
  }
  return writer.finish();
}

}  // namespace stillpoint
