#include "helper/memory/pagemap.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"

namespace stillpoint {
namespace {

// The kernel's interface (include/uapi/linux/fs.h of 6.7 and later), under names of our own: newer headers have theirs.
struct ScanRegion {
  uint64_t start, end, categories;
};
struct ScanArgument {
  uint64_t size, flags, start, end, walk_end, regions, region_count, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArgument);
constexpr uint64_t kPageIsFile = 1 << 2, kPageIsPresent = 1 << 3, kPageIsSwapped = 1 << 4, kPageIsPfnZero = 1 << 5,
                   kPageIsGuard = 1 << 8;

// Bits of an entry of /proc/PID/pagemap.
constexpr uint64_t kEntryPresent = uint64_t{1} << 63, kEntrySwapped = uint64_t{1} << 62, kEntryFile = uint64_t{1} << 61,
                   kEntryGuard = uint64_t{1} << 58;

constexpr int kAdviseGuardInstall = 102;  // MADV_GUARD_INSTALL, 6.13

struct GuardSupport {
  bool exist = false;       // the kernel has guard regions
  bool in_entries = false;  // bit 58 of pagemap entries tells (6.15)
};

// Asked of the kernel with a page of our own.
GuardSupport probe_guards() {
  GuardSupport support;
  void* const page = ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return support;
  if (::madvise(page, kPageSize, kAdviseGuardInstall) == 0) {
    support.exist = true;
    const UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    uint64_t entry = 0;
    const off_t offset = static_cast<off_t>(reinterpret_cast<uint64_t>(page) / kPageSize * sizeof entry);
    support.in_entries = pagemap.valid() && ::pread(pagemap.get(), &entry, sizeof entry, offset) == sizeof entry &&
                         (entry & kEntryGuard) != 0;
  }
  ::munmap(page, kPageSize);
  return support;
}

const GuardSupport& guard_support() {
  static const GuardSupport support = probe_guards();
  return support;
}

enum class ScanOutcome { kDone, kUnsupported };

std::string describe(Range range) {
  return absl::StrCat("pagemap of 0x", absl::Hex(range.start), "-0x", absl::Hex(range.end));
}

void add_region(PopulatedPages& pages, Range range, bool guard) {
  append_range(guard ? pages.guards : pages.content, range);
}

// One walk over the range with PAGEMAP_SCAN, as often as the output buffer fills up.
absl::StatusOr<ScanOutcome> scan_by_ioctl(int fd, Range range, PageSelection selection, bool ask_guards,
                                          PopulatedPages& pages) {
  constexpr size_t kRegions = 8192;
  std::vector<ScanRegion> regions(kRegions);
  ScanArgument argument = {};
  argument.size = sizeof argument;
  argument.regions = reinterpret_cast<uint64_t>(regions.data());
  argument.region_count = regions.size();
  argument.category_inverted = kPageIsPfnZero | (selection == PageSelection::kAnonymous ? kPageIsFile : 0);
  argument.category_mask = argument.category_inverted;
  argument.category_anyof_mask = kPageIsPresent | kPageIsSwapped;
  // Only what is asked for splits regions. The zero page is never among them, but one bit must be named.
  argument.return_mask = ask_guards ? kPageIsGuard : kPageIsPfnZero;
  for (uint64_t at = range.start; at < range.end;) {
    argument.start = at;
    argument.end = range.end;
    argument.walk_end = 0;
    const int count = ::ioctl(fd, kPagemapScan, &argument);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == ENOTTY || errno == EINVAL) && at == range.start) return ScanOutcome::kUnsupported;
    if (count < 0) return errno_status(errno, absl::StrCat("ioctl(PAGEMAP_SCAN), ", describe({at, range.end})));
    uint64_t next = argument.walk_end;
    for (size_t i = 0; i < std::min(static_cast<size_t>(count), regions.size()); ++i) {
      add_region(pages, {regions[i].start, regions[i].end}, (regions[i].categories & kPageIsGuard) != 0);
      // walk_end can be stale (6.18): after the kernel's own buffer was full once and the walk then came to its end, it
      // still names the place of the interruption, before regions that are reported here.
      next = std::max(next, regions[i].end);
    }
    if (next <= at) {
      return absl::InternalError(absl::StrCat("ioctl(PAGEMAP_SCAN) made no progress, ", describe({at, range.end})));
    }
    at = next;
  }
  return ScanOutcome::kDone;
}

absl::Status scan_by_entries(int fd, Range range, PageSelection selection, PopulatedPages& pages) {
  constexpr uint64_t kEntries = 32768;
  std::vector<uint64_t> entries(static_cast<size_t>(std::min(kEntries, range.size() / kPageSize)));
  const bool anonymous_only = selection == PageSelection::kAnonymous;
  for (uint64_t at = range.start; at < range.end;) {
    const size_t count = static_cast<size_t>(std::min<uint64_t>(entries.size(), (range.end - at) / kPageSize));
    RETURN_IF_ERROR(pread_all(fd, entries.data(), count * sizeof(uint64_t), at / kPageSize * sizeof(uint64_t),
                              describe({at, range.end})));
    for (size_t i = 0; i < count; ++i, at += kPageSize) {
      const uint64_t entry = entries[i];
      if ((entry & (kEntryPresent | kEntrySwapped)) == 0) continue;
      if (anonymous_only && (entry & kEntryFile) != 0) continue;
      // Older kernels use the bit for nothing; it is believed only where our own guard page showed it.
      const bool guard = (entry & kEntryGuard) != 0 && guard_support().in_entries;
      add_region(pages, {at, at + kPageSize}, guard);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UniqueFd> open_pagemap(pid_t pid) {
  const std::string path = absl::StrCat("/proc/", pid, "/pagemap");
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("open ", path));
  return fd;
}

absl::Status scan_pages(int pagemap_fd, Range range, PageSelection selection, PopulatedPages& pages) {
  if (range.start % kPageSize != 0 || range.end % kPageSize != 0 || range.start > range.end) {
    return absl::InvalidArgumentError(absl::StrCat("unaligned range, ", describe(range)));
  }
  const GuardSupport& guards = guard_support();
  pages.guards_known = true;
  if (range.start == range.end) return absl::OkStatus();
  if (!feature_disabled("pagemap_scan")) {
    ASSIGN_OR_RETURN(ScanOutcome outcome, scan_by_ioctl(pagemap_fd, range, selection, guards.exist, pages));
    // The ioctl learnt of guard regions later than the entries did: where only the entries tell, they are read.
    if (outcome == ScanOutcome::kUnsupported && guards.exist && !guards.in_entries) {
      ASSIGN_OR_RETURN(outcome, scan_by_ioctl(pagemap_fd, range, selection, false, pages));
      if (outcome == ScanOutcome::kDone) pages.guards_known = false;
    }
    if (outcome == ScanOutcome::kDone) return absl::OkStatus();
  }
  pages.guards_known = !guards.exist || guards.in_entries;
  return scan_by_entries(pagemap_fd, range, selection, pages);
}

absl::StatusOr<PopulatedPages> scan_pages(int pagemap_fd, Range range, PageSelection selection) {
  PopulatedPages pages;
  RETURN_IF_ERROR(scan_pages(pagemap_fd, range, selection, pages));
  return pages;
}

}  // namespace stillpoint
