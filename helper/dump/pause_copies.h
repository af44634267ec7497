// Memory that a forked snapshot does not hold as it was, copied into the helper during the pause: shared memory,
// MADV_DONTFORK, MADV_WIPEONFORK, hugetlb.
#ifndef STILLPOINT_HELPER_DUMP_PAUSE_COPIES_H_
#define STILLPOINT_HELPER_DUMP_PAUSE_COPIES_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "helper/dump/address_space_reader.h"
#include "helper/dump/shared_memory_registry.h"
#include "helper/model/model.pb.h"

namespace stillpoint {

class PauseCopies {
 public:
  // A copied run of pages; pages of zeros are left out.
  struct Copy {
    uint64_t shared_memory = 0;  // id; 0: of the address space
    uint64_t address = 0;        // in the address space, or offset in the shared memory
    uint64_t length = 0;
    const char* data = nullptr;  // page-aligned, owned here
  };

  PauseCopies() = default;
  PauseCopies(const PauseCopies&) = delete;
  PauseCopies& operator=(const PauseCopies&) = delete;
  ~PauseCopies();

  absl::Status copy_mappings(pid_t pid, const AddressSpaceReader& reader, const model::AddressSpace& space);
  absl::Status copy_shared_memory(const SharedMemoryRegistry& registry);

  const std::vector<Copy>& copies() const { return copies_; }

 private:
  struct Block {
    char* data;
    uint64_t length;
  };
  absl::StatusOr<char*> allocate(uint64_t length);
  absl::Status copy_object(const SharedMemoryRegistry::Object& object);
  absl::Status copy_through_mappings(const SharedMemoryRegistry::Object& object);
  // Enters the pages of [data, data + length) that are not all zero.
  void enter(uint64_t shared_memory, uint64_t address, const char* data, uint64_t length);

  std::vector<Block> blocks_;
  std::vector<Copy> copies_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_PAUSE_COPIES_H_
