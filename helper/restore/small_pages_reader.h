// The pages of processes that have few: many of them stand in one chunk of a pages file, which is read and verified
// once for all, instead of once by each process's worker.
#ifndef STILLPOINT_HELPER_RESTORE_SMALL_PAGES_READER_H_
#define STILLPOINT_HELPER_RESTORE_SMALL_PAGES_READER_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "helper/image/checksum.h"
#include "helper/image/image.h"
#include "helper/memory/worker_abi.h"

namespace stillpoint {

class SmallPagesReader {
 public:
  // From here on a process's own worker is faster.
  static constexpr uint64_t kLimit = uint64_t{2} << 20;

  // Into the memory of a task that waits. `fd`: of the file with number `file` and this entry. DATA_LOSS names a chunk
  // that is damaged or missing; nothing of it has reached memory.
  absl::Status read(uint32_t file, int fd, const image::FileEntry& entry, absl::Span<const worker::Extent> extents,
                    pid_t pid);

 private:
  absl::StatusOr<absl::string_view> chunk(uint32_t file, int fd, const image::FileEntry& entry, uint64_t index);

  image::ChunkBuffer buffer_;
  std::optional<std::pair<uint32_t, uint64_t>> held_;  // file and chunk
  absl::string_view content_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_SMALL_PAGES_READER_H_
