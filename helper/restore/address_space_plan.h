// model::AddressSpace -> the calls that rebuild it in a task whose memory is empty but for the worker, [vdso] and
// [vvar].
#ifndef STILLPOINT_HELPER_RESTORE_ADDRESS_SPACE_PLAN_H_
#define STILLPOINT_HELPER_RESTORE_ADDRESS_SPACE_PLAN_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "helper/memory/range.h"
#include "helper/model/model.pb.h"
#include "helper/procfs/process_files.h"
#include "helper/restore/call_list.h"

namespace stillpoint {

// fds in the new task, by id.
struct MemoryFds {
  std::map<uint64_t, int>
      mapped_files;  // by MappedFile id; opened read-only, or read-write for writable shared mappings
  std::map<uint64_t, int> shared_memories;  // by SharedMemory id: memfds
  // The same, open for reading only, for shared mappings that must never become writable.
  std::map<uint64_t, int> read_only_files, read_only_memories;
  std::map<uint64_t, uint64_t>
      anonymous_shared;  // by SharedMemory id: address of a temporary mapping of the whole object
  std::map<uint64_t, uint64_t> read_only_shared;  // the same, of mappings that must never become writable
};

// Unmaps everything in `now` outside `kept` and the vDSO and vvar mappings.
void plan_unmapping(const std::vector<procfs::Mapping>& now, std::vector<Range> kept, CallList& calls);

// Maps every VMA, writable where pages must be filled in.
absl::Status plan_mappings(const model::AddressSpace& space, const model::Tree& tree, const MemoryFds& fds,
                           CallList& calls);

// After the pages are in: final protections, advice, names, locks.
void plan_attributes(const model::AddressSpace& space, CallList& calls);

// prctl(PR_SET_MM_MAP): what /proc/PID/stat, cmdline, environ and exe show; brk.
void plan_process_image(const model::AddressSpace& space, int executable_fd, CallList& calls);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_ADDRESS_SPACE_PLAN_H_
