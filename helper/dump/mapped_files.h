// Files that are mapped or executed: identified, kept open, and stored once per job.
#ifndef STILLPOINT_HELPER_DUMP_MAPPED_FILES_H_
#define STILLPOINT_HELPER_DUMP_MAPPED_FILES_H_

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/image/image.h"
#include "helper/model/model.pb.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {

class MappedFiles {
 public:
  // The file behind a mapping, entered on first sight; 0 when it cannot be opened (deleted, and the helper may not
  // use /proc/PID/map_files): the caller then saves the mapping's bytes instead.
  absl::StatusOr<uint64_t> enter_mapping(pid_t pid, const procfs::Mapping& mapping);
  absl::StatusOr<uint64_t> enter_executable(pid_t pid);
  uint64_t size_of(uint64_t id) const { return files_[id - 1].message.size(); }

  // Makes written shared mappings durable before an image is published (trap 11).
  absl::Status sync(uint64_t id) const;
  // Stores what a restart may need in DIR/files and tells the manifest, whose boot id is set. What the latest image of
  // this boot has, and nobody has touched since, is not read again. Identified by inode, size and mtime only are files
  // in `written`, which a restart maps as it finds them; files larger than kStoreLimit that are not ELF; and, with a
  // note, files that others keep writing.
  absl::Status store(const image::JobDirectory& directory, const std::set<uint64_t>& written, image::Manifest& manifest,
                     std::vector<std::string>& notes);
  void add_to(model::Tree& tree) const;

  static constexpr uint64_t kStoreLimit = uint64_t{16} << 20;

 private:
  struct File {
    model::MappedFile message;
    UniqueFd fd;
    bool elf = false;
  };
  static absl::StatusOr<image::FileEntry> store_file(const image::JobDirectory& directory, const File& file);
  absl::StatusOr<uint64_t> enter(UniqueFd fd, std::string path, bool deleted);

  std::vector<File> files_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_MAPPED_FILES_H_
