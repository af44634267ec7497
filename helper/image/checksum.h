// Chunks of files and their checksums. Chunk k of a file is its bytes from k * kChunkSize to the next chunk or the end.
#ifndef STILLPOINT_HELPER_IMAGE_CHECKSUM_H_
#define STILLPOINT_HELPER_IMAGE_CHECKSUM_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace stillpoint::image {

constexpr uint64_t chunk_count(uint64_t size, uint64_t chunk_size) {
  return size / chunk_size + (size % chunk_size != 0 ? 1 : 0);
}

// Reads a file chunk by chunk into one page-aligned buffer.
class ChunkBuffer {
 public:
  ChunkBuffer();
  ~ChunkBuffer();
  ChunkBuffer(const ChunkBuffer&) = delete;
  ChunkBuffer& operator=(const ChunkBuffer&) = delete;

  // Chunk `index`, shorter at the end of the file and empty behind it. The view is valid until the next read.
  absl::StatusOr<absl::string_view> read(int fd, uint64_t index, absl::string_view label);

 private:
  char* bytes_;
};

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_CHECKSUM_H_
