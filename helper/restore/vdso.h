// The vDSO of the new task, put where the dumped one was.
#ifndef STILLPOINT_HELPER_RESTORE_VDSO_H_
#define STILLPOINT_HELPER_RESTORE_VDSO_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/model/model.pb.h"
#include "helper/procfs/process_files.h"
#include "helper/restore/call_list.h"

namespace stillpoint {

// Same kernel, same vDSO: [vvar...] and [vdso] are moved to their old addresses with mremap(2). Another vDSO: the new
// one is moved out of the way and the old address range holds the old bytes with every function replaced by a jump.
struct VdsoPlan {
  bool stubs = false;
  uint64_t stub_address = 0;  // where `stub_bytes` are written once the range is mapped
  std::string stub_bytes;
};

// `now` are the mappings of the task that becomes `process`, `current` the bytes of its [vdso]. `free_address` is a
// place of at least kVdsoRoom bytes that neither the image nor the new task uses. With stubs a thread may not have been
// stopped inside the vDSO: FAILED_PRECONDITION then.
absl::StatusOr<VdsoPlan> plan_vdso(const model::Process& process, const model::AddressSpace& space,
                                   const std::vector<procfs::Mapping>& now, absl::string_view current,
                                   uint64_t free_address, CallList& calls);
inline constexpr uint64_t kVdsoRoom = uint64_t{256} * 1024;

// Function name -> offset, from the dynamic symbols of a vDSO. Malformed input gives fewer symbols.
std::map<std::string, uint64_t> vdso_functions(absl::string_view elf);

// `old_elf` with each of its functions turned into a jump to the one in the vDSO at `new_base`, or into the plain
// system call where the new one has no such function.
absl::StatusOr<std::string> vdso_with_stubs(absl::string_view old_elf, absl::string_view new_elf, uint64_t new_base);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_VDSO_H_
