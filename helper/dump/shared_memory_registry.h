// Shared memory objects (memfd, shared anonymous) met while reading mappings and fds, each entered once.
#ifndef STILLPOINT_HELPER_DUMP_SHARED_MEMORY_REGISTRY_H_
#define STILLPOINT_HELPER_DUMP_SHARED_MEMORY_REGISTRY_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/memory/range.h"
#include "helper/model/model.pb.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {

class SharedMemoryRegistry {
 public:
  struct Object {
    model::SharedMemory message;
    UniqueFd fd;  // of the memory itself; invalid where the helper may not have it
    struct Place {
      pid_t pid = 0;
      procfs::Mapping mapping;
    };
    bool deleted_file = false, segment = false;
    std::vector<Range> found;   // offsets whose content somebody has been found to read from (pause_copies.h)
    std::vector<Place> places;  // where it is mapped, and can be read when there is no fd
  };

  // The object behind a mapping, entered on first sight.
  absl::StatusOr<uint64_t> enter_mapping(pid_t pid, const procfs::Mapping& mapping);
  // The deleted file behind a shared mapping.
  absl::StatusOr<uint64_t> enter_deleted_file(pid_t pid, const procfs::Mapping& mapping);
  // The System V segment behind a mapping.
  absl::StatusOr<uint64_t> enter_segment(pid_t pid, const procfs::Mapping& mapping);
  // The memfd, or the deleted file that comes back as one, behind the helper's own copy `fd`.
  absl::StatusOr<uint64_t> enter_memfd(int fd, const std::string& link);

  // Whether the deleted file with this inode is mapped shared.
  bool holds_deleted_file(uint64_t device, uint64_t inode) const {
    const auto entry = by_inode_.find({device, inode});
    return entry != by_inode_.end() && objects_[entry->second].deleted_file;
  }

  std::vector<Object>& objects() { return objects_; }
  const std::vector<Object>& objects() const { return objects_; }

 private:
  Object& object(uint64_t device, uint64_t inode);
  absl::StatusOr<uint64_t> enter_mapping_of(Object& entry, pid_t pid, const procfs::Mapping& mapping);
  std::map<std::pair<uint64_t, uint64_t>, size_t> by_inode_;
  std::vector<Object> objects_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_SHARED_MEMORY_REGISTRY_H_
