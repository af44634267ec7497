#include "helper/restore/address_space_plan.h"

#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/model/ids.h"
#include "helper/model/mappings.h"

namespace stillpoint {
namespace {

constexpr uint64_t kTaskSize = 0x7ffffffff000;  // 47-bit user addresses; Linux: TASK_SIZE_MAX
constexpr int kMadvGuardInstall = 102;          // Linux 6.13: include/uapi/asm-generic/mman-common.h
constexpr int kMlockOnFault = 1;                // MLOCK_ONFAULT
constexpr int kMapDroppable = 8;                // MAP_DROPPABLE

std::string range_text(const model::Vma& vma) {
  return absl::StrCat(absl::Hex(vma.start()), "-", absl::Hex(vma.end()));
}

int huge_page_flags(uint64_t size) {
  if (size == 0) return 0;
  int shift = 0;
  while ((uint64_t{1} << shift) < size) ++shift;
  return MAP_HUGETLB | (shift << MAP_HUGE_SHIFT);
}

bool is_filled(const model::AddressSpace& space, const model::Vma& vma) {
  const auto& pages = space.pages();
  const auto first = std::lower_bound(
      pages.begin(), pages.end(), vma.start(),
      [](const model::PageExtent& extent, uint64_t address) { return extent.address() + extent.length() <= address; });
  return first != pages.end() && first->address() < vma.end();
}

// Before the pages are filled in: a range that had huge pages gets them again, one that must not have any does not.
bool shapes_pages(uint32_t advice) { return advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE; }

void plan_advice(const model::Vma& vma, bool before_filling, CallList& calls) {
  for (const uint32_t advice : vma.advice()) {
    if (shapes_pages(advice) != before_filling) continue;
    // Advice is advice: a kernel built without KSM or THP answers EINVAL.
    calls.add(absl::StrCat("madvise of ", range_text(vma)), SYS_madvise, {vma.start(), vma.end() - vma.start(), advice})
        .may_fail = true;
  }
}

// mlock2(2) sets the flag first and then fetches the pages; where some cannot be had (no access, guards, behind the end
// of a file) it fails although the mapping is locked as it was.
bool may_have_missing_pages(const model::Vma& vma) {
  return vma.protection() == PROT_NONE || vma.guards_size() > 0 || vma.kind() != model::Vma::ANONYMOUS;
}

// Kernels before 6.11 have no such mappings: an ordinary one loses nothing, which is as good.
bool can_map_droppable() {
  void* page = ::mmap(nullptr, kPageSize, PROT_READ, kMapDroppable | MAP_ANONYMOUS, -1, 0);
  return page != MAP_FAILED && ::munmap(page, kPageSize) == 0;
}

void plan_anonymous(const model::Vma& vma, uint32_t protection, CallList& calls) {
  const int type = vma.droppable() && can_map_droppable() ? kMapDroppable : MAP_PRIVATE;
  int flags = type | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | huge_page_flags(vma.huge_page_size());
  if (vma.grows_down()) flags |= MAP_GROWSDOWN;
  if (vma.no_reserve()) flags |= MAP_NORESERVE;
  calls
      .add(absl::StrCat("mmap of anonymous memory at ", range_text(vma)), SYS_mmap,
           {vma.start(), vma.end() - vma.start(), protection, flags, -1, 0})
      .must_return_argument0 = true;
}

absl::Status plan_file(const model::Vma& vma, uint32_t protection, const model::Tree& tree, const MemoryFds& fds,
                       CallList& calls) {
  const model::MappedFile* file = model::find_mapped_file(tree, vma.mapped_file());
  const auto fd = fds.mapped_files.find(vma.mapped_file());
  if (file == nullptr || fd == fds.mapped_files.end()) {
    return absl::DataLossError(absl::StrCat("the image names no file for the mapping at ", range_text(vma)));
  }
  const int sharing = vma.kind() == model::Vma::FILE_SHARED ? MAP_SHARED : MAP_PRIVATE;
  const auto read_only = fds.read_only_files.find(vma.mapped_file());
  const bool by_read_only = sharing == MAP_SHARED && !model::may_write(vma) && read_only != fds.read_only_files.end();
  calls
      .add(absl::StrCat("mmap of ", file->path(), " at ", range_text(vma)), SYS_mmap,
           {vma.start(), vma.end() - vma.start(), protection,
            sharing | MAP_FIXED_NOREPLACE | (vma.no_reserve() ? MAP_NORESERVE : 0),
            by_read_only ? read_only->second : fd->second, vma.offset()})
      .must_return_argument0 = true;
  return absl::OkStatus();
}

absl::Status plan_shared_memory(const model::Vma& vma, uint32_t protection, const MemoryFds& fds, CallList& calls) {
  const uint64_t length = vma.end() - vma.start();
  if (const auto fd = fds.shared_memories.find(vma.shared_memory()); fd != fds.shared_memories.end()) {
    const int sharing = (vma.was_private_shm() ? MAP_PRIVATE : MAP_SHARED) | (vma.no_reserve() ? MAP_NORESERVE : 0);
    const auto read_only = fds.read_only_memories.find(vma.shared_memory());
    const bool by_read_only = !vma.was_private_shm() && !model::may_write(vma) && read_only != fds.read_only_memories.end();
    calls
        .add(absl::StrCat("mmap of a memfd at ", range_text(vma)), SYS_mmap,
             {vma.start(), length, protection, sharing | MAP_FIXED_NOREPLACE,
              by_read_only ? read_only->second : fd->second, vma.offset()})
        .must_return_argument0 = true;
    return absl::OkStatus();
  }
  const auto whole = fds.anonymous_shared.find(vma.shared_memory());
  if (whole == fds.anonymous_shared.end()) {
    return absl::DataLossError(absl::StrCat("the image names no memory for the mapping at ", range_text(vma)));
  }
  const auto read_only = fds.read_only_shared.find(vma.shared_memory());
  const bool by_read_only = !model::may_write(vma) && read_only != fds.read_only_shared.end();
  // An old size of 0 maps the same shared pages a second time (mremap(2)).
  calls.add(absl::StrCat("mremap of shared memory to ", range_text(vma)), SYS_mremap,
            {(by_read_only ? read_only : whole)->second + vma.offset(), 0, length, MREMAP_MAYMOVE | MREMAP_FIXED,
             vma.start()});
  if (protection != (by_read_only ? PROT_READ : PROT_READ | PROT_WRITE)) {
    calls.add(absl::StrCat("mprotect of shared memory at ", range_text(vma)), SYS_mprotect,
              {vma.start(), length, protection});
  }
  return absl::OkStatus();
}

}  // namespace

void plan_unmapping(const std::vector<procfs::Mapping>& now, std::vector<Range> kept, CallList& calls) {
  for (const procfs::Mapping& mapping : now) {
    if (mapping.name == "[vdso]" || absl::StartsWith(mapping.name, "[vvar"))
      kept.push_back({mapping.start, mapping.end});
  }
  std::sort(kept.begin(), kept.end(), [](const Range& a, const Range& b) { return a.start < b.start; });
  kept.push_back({kTaskSize, kTaskSize});
  uint64_t begin = 0;
  for (const Range& range : kept) {
    if (range.start > begin) calls.add("munmap of the helper's memory", SYS_munmap, {begin, range.start - begin});
    begin = std::max(begin, range.end);
  }
}

absl::Status plan_mappings(const model::AddressSpace& space, const model::Tree& tree, const MemoryFds& fds,
                           CallList& calls) {
  for (const model::Vma& vma : space.vmas()) {
    const bool filled = is_filled(space, vma);
    const uint32_t protection =
        filled ? (vma.protection() | PROT_READ | PROT_WRITE) & ~uint32_t{PROT_EXEC} : vma.protection();
    switch (vma.kind()) {
      case model::Vma::ANONYMOUS:
        plan_anonymous(vma, protection, calls);
        break;
      case model::Vma::FILE_PRIVATE:
      case model::Vma::FILE_SHARED:
        RETURN_IF_ERROR(plan_file(vma, protection, tree, fds, calls));
        break;
      case model::Vma::SHARED_MEMORY:
        RETURN_IF_ERROR(plan_shared_memory(vma, protection, fds, calls));
        break;
      case model::Vma::VDSO:
      case model::Vma::VVAR:
        break;  // moved, not mapped: vdso.h
      default:
        return absl::UnimplementedError(absl::StrCat("the image holds a mapping of unknown kind at ", range_text(vma)));
    }
    if (vma.kind() != model::Vma::VDSO && vma.kind() != model::Vma::VVAR) {
      plan_advice(vma, /*before_filling=*/true, calls);
    }
  }
  return absl::OkStatus();
}

void plan_attributes(const model::AddressSpace& space, CallList& calls) {
  for (const model::Vma& vma : space.vmas()) {
    if (vma.kind() == model::Vma::VDSO || vma.kind() == model::Vma::VVAR) continue;
    const uint64_t length = vma.end() - vma.start();
    const std::string range = range_text(vma);
    if (is_filled(space, vma)) {
      calls.add(absl::StrCat("mprotect of ", range), SYS_mprotect, {vma.start(), length, vma.protection()});
    }
    plan_advice(vma, /*before_filling=*/false, calls);
    for (const model::Range& guard : vma.guards()) {
      calls.add(absl::StrCat("madvise(MADV_GUARD_INSTALL) in ", range), SYS_madvise,
                {guard.start(), guard.end() - guard.start(), kMadvGuardInstall});
    }
    if (vma.locked()) {
      calls
          .add(absl::StrCat("mlock2 of ", range), SYS_mlock2,
               {vma.start(), length, vma.lock_on_fault() ? kMlockOnFault : 0})
          .may_fail = may_have_missing_pages(vma);
    }
    if (!vma.anonymous_name().empty()) {
      calls
          .add(absl::StrCat("prctl(PR_SET_VMA_ANON_NAME) of ", range), SYS_prctl,
               {PR_SET_VMA, PR_SET_VMA_ANON_NAME, vma.start(), length, calls.text(vma.anonymous_name())})
          .may_fail = true;  // CONFIG_ANON_VMA_NAME
    }
  }
  if (space.thp_disabled()) {
    calls.add("prctl(PR_SET_THP_DISABLE)", SYS_prctl, {PR_SET_THP_DISABLE, 1, 0, 0, 0});
  }
  if (space.mlock_future()) {
    calls.add("mlockall(MCL_FUTURE)", SYS_mlockall, {MCL_FUTURE | (space.mlock_on_fault() ? MCL_ONFAULT : 0)});
  }
}

void plan_process_image(const model::AddressSpace& space, int executable_fd, CallList& calls) {
  prctl_mm_map map{};
  map.start_code = space.start_code();
  map.end_code = space.end_code();
  map.start_data = space.start_data();
  map.end_data = space.end_data();
  map.start_brk = space.start_brk();
  map.brk = space.brk();
  map.start_stack = space.start_stack();
  map.arg_start = space.arg_start();
  map.arg_end = space.arg_end();
  map.env_start = space.env_start();
  map.env_end = space.env_end();
  map.auxv_size = static_cast<uint32_t>(space.auxv().size());
  map.exe_fd = static_cast<uint32_t>(executable_fd);
  const DataRef auxv = calls.data(space.auxv());
  const DataRef argument =
      calls.data(std::string(reinterpret_cast<const char*>(&map), sizeof map), {{offsetof(prctl_mm_map, auxv), auxv}});
  calls.add("prctl(PR_SET_MM_MAP)", SYS_prctl, {PR_SET_MM, PR_SET_MM_MAP, argument, sizeof map, 0});
}

}  // namespace stillpoint
