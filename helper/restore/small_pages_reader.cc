#include "helper/restore/small_pages_reader.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"

namespace stillpoint {

absl::StatusOr<absl::string_view> SmallPagesReader::chunk(uint32_t file, int fd, const image::FileEntry& entry,
                                                          uint64_t index) {
  if (held_ == std::pair{file, index}) return content_;
  held_.reset();
  if (index >= static_cast<uint64_t>(entry.chunks_size())) {
    return absl::DataLossError(absl::StrCat("there is no checksum for chunk ", index));
  }
  ASSIGN_OR_RETURN(content_, buffer_.read(fd, index, entry.name()));
  if (image::checksum(content_) != entry.chunks(static_cast<int>(index))) {
    return absl::DataLossError(absl::StrCat("chunk ", index, " of the pages file is damaged: its checksum differs"));
  }
  held_ = {file, index};
  return content_;
}

absl::Status SmallPagesReader::read(uint32_t file, int fd, const image::FileEntry& entry,
                                    absl::Span<const worker::Extent> extents, pid_t pid) {
  for (const worker::Extent& extent : extents) {
    for (uint64_t done = 0; done < extent.length;) {
      const uint64_t offset = extent.offset + done, index = offset / worker::kChunkSize;
      ASSIGN_OR_RETURN(const absl::string_view content, chunk(file, fd, entry, index));
      const uint64_t at = offset % worker::kChunkSize;
      if (at >= content.size()) {
        return absl::DataLossError(absl::StrCat("the pages file ends within chunk ", index));
      }
      const uint64_t length = std::min<uint64_t>(extent.length - done, content.size() - at);
      RETURN_IF_ERROR(write_memory(pid, extent.address + done, content.data() + at, length));
      done += length;
    }
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
