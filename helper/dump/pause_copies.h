// Memory that a forked snapshot does not hold as it was: shared memory, MADV_DONTFORK, MADV_WIPEONFORK, hugetlb. It is
// found while the process stands still and copied into the helper before it goes on; where the copies would take more
// memory than there is, the process stays frozen until they are written from where they lie.
#ifndef STILLPOINT_HELPER_DUMP_PAUSE_COPIES_H_
#define STILLPOINT_HELPER_DUMP_PAUSE_COPIES_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/dump/address_space_reader.h"
#include "helper/dump/application_calls.h"
#include "helper/dump/shared_memory_registry.h"
#include "helper/memory/range.h"
#include "helper/model/model.pb.h"

namespace stillpoint {

class PauseCopies {
 public:
  // A run of pages that exist. In an address space it lies within one VMA.
  struct Piece {
    enum class From { kProcess, kFile, kZeroes };
    From from = From::kProcess;
    uint64_t shared_memory = 0;  // id; 0: of the process's address space
    uint64_t address = 0;        // in the address space, or offset in the shared memory
    uint64_t length = 0;
    int fd = -1;                 // kFile: the memory itself, from `address` on
    uint64_t source = 0;         // kProcess: where the process has it
    const char* data = nullptr;  // the copy, owned here; null before copy()
  };

  // `excluded`: whole pages, as excluded_pages() returns them.
  PauseCopies(pid_t pid, std::vector<Range> excluded) : pid_(pid), excluded_(std::move(excluded)) {}
  PauseCopies(const PauseCopies&) = delete;
  PauseCopies& operator=(const PauseCopies&) = delete;
  ~PauseCopies();

  // Finds what has to be copied of the mappings that are copied_in_pause(), of which it enters the guards; and the
  // excluded pages that would otherwise come back with a file's content instead of zeroes.
  absl::Status find_in_mappings(const AddressSpaceReader& reader, model::AddressSpace& space);
  // Mappings that turned out not to be in the snapshot.
  absl::Status find_in_mapping(const AddressSpaceReader& reader, int index, model::AddressSpace& space);
  // Of the shared memories, those parts that no other process of the tree has been asked for yet.
  absl::Status find_in_shared_memory(SharedMemoryRegistry& registry, ApplicationCalls& calls);
  // The process's own pages, for want of a snapshot.
  void add_own_pages(const std::vector<Range>& pages) { add_of_process(pages); }

  uint64_t bytes() const;  // that copy() would take
  absl::Status copy();

  const std::vector<Piece>& pieces() const { return pieces_; }
  // Bytes [at, at + length) of a piece that was not copied.
  absl::Status read(const Piece& piece, uint64_t at, char* to, uint64_t length) const;

 private:
  absl::Status find_whole(const model::Vma& vma, const std::vector<Range>& guards);
  absl::Status find_in_object(SharedMemoryRegistry::Object& object, const std::vector<Range>& excluded);
  absl::Status find_through_mappings(SharedMemoryRegistry::Object& object, const std::vector<Range>& excluded,
                                     ApplicationCalls& calls);
  std::vector<Range> excluded_in(const SharedMemoryRegistry::Object& object) const;
  void add_of_process(const std::vector<Range>& ranges);

  struct Block {
    char* data;
    uint64_t length;
  };
  const pid_t pid_;
  const std::vector<Range> excluded_;
  std::vector<Piece> pieces_;
  std::vector<Block> blocks_;
};

// Why copies of so many bytes should not be made: they need more than what is left of the machine's or the cgroup's
// memory. Empty: they fit.
std::string why_not_copy(uint64_t bytes);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_PAUSE_COPIES_H_
