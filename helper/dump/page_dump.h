// From memory to pages files: which pages have content, where each one goes, and the writing.
#ifndef STILLPOINT_HELPER_DUMP_PAGE_DUMP_H_
#define STILLPOINT_HELPER_DUMP_PAGE_DUMP_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/dump/address_space_reader.h"
#include "helper/dump/pause_copies.h"
#include "helper/dump/snapshot.h"
#include "helper/image/image.h"
#include "helper/memory/page_file.h"
#include "helper/memory/range.h"
#include "helper/model/model.pb.h"

namespace stillpoint {

using Progress = std::function<void(uint64_t done, uint64_t total)>;

// pages-0.bin holds the address space's own pages as the snapshot (or the frozen process) has them; pages-1.bin what
// the snapshot does not hold (pause_copies.h).
class PageDump {
 public:
  // Finds the pages with content of `pid` (the snapshot, or the frozen process) and enters them into `space`.
  absl::Status lay_out(pid_t pid, const std::vector<int>& copied_in_pause, const std::vector<Range>& excluded,
                       model::AddressSpace& space);
  // Writes pages-0.bin by the worker inside the snapshot; where that cannot run, `why_outside` says why and the
  // pages are read from outside.
  absl::Status write_from_snapshot(Snapshot& snapshot, const std::vector<procfs::Mapping>& mappings,
                                   const CodeGadgets& gadgets, const model::AddressSpace& space,
                                   image::ImageWriter& writer, const Progress& progress, std::string& why_outside);
  absl::Status write_from_outside(pid_t pid, image::ImageWriter& writer, const Progress& progress);
  // pages-1.bin: what was copied in the pause, or is read now from the process that is still frozen. Pages of zeroes
  // are left out. Enters the pages into `space` and the shared memories of `tree`, behind lay_out's.
  absl::Status write_copies(const PauseCopies& copies, image::ImageWriter& writer, model::AddressSpace& space,
                            model::Tree& tree);

  uint64_t bytes() const { return layout_.file_size() + copied_bytes_; }

 private:
  absl::Status write_by_worker(Snapshot& snapshot, const std::vector<procfs::Mapping>& mappings,
                               const CodeGadgets& gadgets, const model::AddressSpace& space, int fd, bool direct,
                               const Progress& progress, std::vector<uint64_t>& checksums);

  PageFileLayout layout_;
  uint64_t copied_bytes_ = 0;
  bool guards_known_ = true;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_PAGE_DUMP_H_
