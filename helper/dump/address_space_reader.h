// The mappings of a frozen process -> model::AddressSpace.
#ifndef STILLPOINT_HELPER_DUMP_ADDRESS_SPACE_READER_H_
#define STILLPOINT_HELPER_DUMP_ADDRESS_SPACE_READER_H_

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/dump/application_calls.h"
#include "helper/dump/mapped_files.h"
#include "helper/dump/shared_memory_registry.h"
#include "helper/model/model.pb.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/finding.h"

namespace stillpoint {

class AddressSpaceReader {
 public:
  AddressSpaceReader(MappedFiles& files, SharedMemoryRegistry& shared) : files_(files), shared_(shared) {}

  // smaps costs milliseconds per GiB, so it is read while the process still runs. In the pause only maps is read; where
  // both name the same mapping, the flags of smaps count for the time being. What they were in the pause the snapshot
  // tells (find_unforked, settle_flags), and locks, which it does not inherit, VmLck: where there are any, smaps is
  // read again in the pause.
  absl::Status read_ahead(pid_t pid);
  // `tid`: a living thread of the process (a leader that has left shows no mappings).
  absl::Status read(pid_t tid, Findings& findings, model::AddressSpace& out);
  // What only the process itself can say.
  static absl::Status ask(ApplicationCalls& calls, model::AddressSpace& out);
  // mlockall(MCL_FUTURE), found out with a mapping that is made and undone; only where memory is locked at all.
  static absl::Status ask_locking(ApplicationCalls& calls, model::AddressSpace& out);

  const std::vector<procfs::Mapping>& mappings() const { return mappings_; }
  // Indices into the model's vmas that a forked snapshot does not hold as they are: MADV_DONTFORK, MADV_WIPEONFORK,
  // hugetlb, mappings of deleted files whose bytes are saved whole.
  const std::vector<int>& copied_in_pause() const { return copied_in_pause_; }
  // Start addresses of the last kind: every readable page counts, not only those the process changed.
  const std::set<uint64_t>& saved_whole() const { return saved_whole_; }

  // Compared with the mappings of a snapshot that was just forked: a mapping that is not in it is MADV_DONTFORK,
  // whatever was read ahead. Returns the indices of those whose pages have to be copied in the pause besides.
  absl::StatusOr<std::vector<int>> find_unforked(const std::vector<procfs::Mapping>& of_snapshot,
                                                 model::AddressSpace& space);
  // Flags as they were in the pause, by the smaps of the snapshot (`forked`) or of the process that is still frozen.
  // ABORTED when one was set after read_ahead in a way that the snapshot cannot make good.
  static absl::Status settle_flags(const std::vector<procfs::Mapping>& now, bool forked, model::AddressSpace& space);

 private:
  absl::Status read_mappings(pid_t tid, model::AddressSpace& out);
  absl::Status add_vma(pid_t pid, const procfs::Mapping& mapping, Findings& findings, model::AddressSpace& out);
  absl::Status classify(pid_t pid, const procfs::Mapping& mapping, Findings& findings, model::Vma& vma);
  absl::Status classify_file(pid_t pid, const procfs::Mapping& mapping, Findings& findings, model::Vma& vma);

  MappedFiles& files_;
  SharedMemoryRegistry& shared_;
  std::vector<procfs::Mapping> ahead_;
  std::vector<procfs::Mapping> mappings_;
  std::vector<int> copied_in_pause_;
  std::set<uint64_t> saved_whole_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_ADDRESS_SPACE_READER_H_
