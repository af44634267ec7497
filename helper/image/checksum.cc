#include "helper/image/checksum.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <new>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/image/image.h"
#include "helper/image/storage_error.h"

namespace stillpoint::image {
namespace {

constexpr std::align_val_t kBufferAlignment{4096};

}  // namespace

ChunkBuffer::ChunkBuffer() : bytes_(static_cast<char*>(::operator new(kChunkSize, kBufferAlignment))) {}
ChunkBuffer::~ChunkBuffer() { ::operator delete(bytes_, kBufferAlignment); }

absl::StatusOr<absl::string_view> ChunkBuffer::read(int fd, uint64_t index, absl::string_view label) {
  const uint64_t offset = index * kChunkSize;
  size_t used = 0;
  while (used < kChunkSize) {
    const ssize_t n = ::pread(fd, bytes_ + used, kChunkSize - used, static_cast<off_t>(offset + used));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return storage_error(errno, absl::StrCat("read ", label, " at chunk ", index));
    if (n == 0) break;
    used += static_cast<size_t>(n);
  }
  return absl::string_view(bytes_, used);
}

uint64_t checksum(absl::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

absl::StatusOr<std::vector<uint64_t>> checksum_file(int fd, absl::string_view what) {
  // Advice only: a filesystem that does not take it reads as well.
  static_cast<void>(::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
  ChunkBuffer buffer;
  std::vector<uint64_t> chunks;
  for (;;) {
    ASSIGN_OR_RETURN(const absl::string_view bytes, buffer.read(fd, chunks.size(), what));
    if (!bytes.empty()) chunks.push_back(checksum(bytes));
    if (bytes.size() < kChunkSize) return chunks;
  }
}

}  // namespace stillpoint::image
