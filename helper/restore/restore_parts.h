// What all processes of one restore have in common.
#ifndef STILLPOINT_HELPER_RESTORE_RESTORE_PARTS_H_
#define STILLPOINT_HELPER_RESTORE_RESTORE_PARTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "helper/base/unique_fd.h"
#include "helper/image/image.h"
#include "helper/model/model.pb.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/sysv_segment.h"
#include "helper/restore/credentials.h"
#include "helper/restore/open_files_restorer.h"
#include "helper/restore/restore.h"
#include "helper/restore/small_pages_reader.h"

namespace stillpoint {

// The processes are cloned from the restorer: they inherit its fds under the same numbers, and the temporary mappings
// of shared memory at the same addresses.
struct RestoreParts {
  RestoreParts(const image::ImageReader& the_image, const model::Tree& the_tree, const RestoreOptions& the_options,
               const CallerCredentials& the_caller, std::vector<std::string>& the_notes)
      : image(the_image),
        tree(the_tree),
        options(the_options),
        caller(the_caller),
        notes(the_notes),
        files(the_tree, the_options, the_notes) {}

  const image::ImageReader& image;
  const model::Tree& tree;
  const RestoreOptions& options;
  const CallerCredentials& caller;
  std::vector<std::string>& notes;
  OpenFilesRestorer files;
  std::map<uint64_t, UniqueFd> mapped_files;  // by MappedFile id
  // Open for reading only, by MappedFile and SharedMemory id: for shared mappings that must never be writable.
  std::map<uint64_t, UniqueFd> read_only_files, read_only_memories;
  std::map<uint32_t, UniqueFd> page_files;  // by K of pages-K.bin
  SmallPagesReader small_pages;
  std::map<uint64_t, uint64_t> temporaries;            // SharedMemory id -> address of a mapping of the whole
  std::map<uint64_t, uint64_t> read_only_temporaries;  // of System V segments that are attached with SHM_RDONLY
  SysvSegments segments;
  std::vector<procfs::Mapping> mappings_at_clone;  // of the restorer
};

uint64_t whole_pages(const model::SharedMemory& memory);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_RESTORE_PARTS_H_
