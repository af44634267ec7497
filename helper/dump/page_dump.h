// From memory to pages files: which pages have content, where each one goes, and the writing.
#ifndef STILLPOINT_HELPER_DUMP_PAGE_DUMP_H_
#define STILLPOINT_HELPER_DUMP_PAGE_DUMP_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/dump/address_space_reader.h"
#include "helper/dump/pause_copies.h"
#include "helper/dump/snapshot.h"
#include "helper/image/image.h"
#include "helper/memory/page_file.h"
#include "helper/memory/range.h"
#include "helper/model/model.pb.h"

namespace stillpoint {

using Progress = std::function<void(uint64_t done, uint64_t total)>;

// The pages of `pid` (a snapshot, or a frozen process) that are its own and not as a fresh mapping gives them,
// ascending; the VMAs with these indices are left out. Guard regions are entered into `space`; `guards_known` becomes
// false where the kernel does not tell them from content.
absl::StatusOr<std::vector<Range>> find_own_pages(pid_t pid, const std::vector<int>& left_out,
                                                  model::AddressSpace& space, bool& guards_known);

// One address space's own pages, as the snapshot (or the frozen process) has them: pages-K.bin.
class PageDump {
 public:
  explicit PageDump(uint32_t file) : file_(file) {}

  // Finds the pages with content of `pid` (the snapshot, or the frozen process) and enters them into `space`.
  absl::Status lay_out(pid_t pid, const std::vector<int>& copied_in_pause, const std::vector<Range>& excluded,
                       model::AddressSpace& space);
  // Writes the file by the worker inside the snapshot; where that cannot run, `why_outside` says why and the
  // pages are read from outside.
  absl::Status write_from_snapshot(Snapshot& snapshot, const std::vector<procfs::Mapping>& mappings,
                                   const CodeGadgets& gadgets, const model::AddressSpace& space,
                                   image::ImageWriter& writer, const Progress& progress, std::string& why_outside);
  absl::Status write_from_outside(pid_t pid, image::ImageWriter& writer, const Progress& progress);

  uint64_t bytes() const { return layout_.file_size(); }

 private:
  absl::Status write_by_worker(Snapshot& snapshot, const std::vector<procfs::Mapping>& mappings,
                               const CodeGadgets& gadgets, const model::AddressSpace& space, int fd, bool direct,
                               const Progress& progress, std::vector<uint64_t>& checksums);

  const uint32_t file_;
  PageFileLayout layout_;
  bool guards_known_ = true;
};

// pages-1.bin: what the snapshots do not hold (pause_copies.h), copied in the pause or read now from processes that are
// still frozen. Pages of zeroes are left out.
class CopiedPagesDump {
 public:
  static constexpr uint32_t kFile = 1;

  // Enters the pages into `space` and the shared memories of `tree`, behind what stands there already.
  absl::Status add(const PauseCopies& copies, image::ImageWriter& writer, model::AddressSpace& space,
                   model::Tree& tree);
  absl::Status finish(image::ImageWriter& writer, model::Tree& tree);
  uint64_t bytes() const { return bytes_; }

 private:
  UniqueFd file_;
  std::optional<ChunkedFileWriter> out_;
  uint64_t bytes_ = 0;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_PAGE_DUMP_H_
