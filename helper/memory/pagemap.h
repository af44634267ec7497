// Which pages of an address space have content.
#ifndef STILLPOINT_HELPER_MEMORY_PAGEMAP_H_
#define STILLPOINT_HELPER_MEMORY_PAGEMAP_H_

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/memory/range.h"

namespace stillpoint {

enum class PageSelection {
  kPopulated,  // every page that is present or swapped: anonymous memory, mappings of shared objects
  kAnonymous,  // without pages of the file behind: what a private file mapping has changed
};

// Ascending, joined where they touch.
struct PopulatedPages {
  std::vector<Range> content;
  std::vector<Range> guards;  // guard regions (MADV_GUARD_INSTALL): no content, reading them faults
  // False where the kernel may have guard regions but does not report them (6.13, 6.14): they stand in `content`.
  bool guards_known = true;
};

// /proc/PID/pagemap. Needs PTRACE_MODE_READ on the process: a same-user dumpable one, or CAP_SYS_PTRACE.
absl::StatusOr<UniqueFd> open_pagemap(pid_t pid);

// The populated pages of [range.start, range.end), which must be page-aligned. Pages that only read the zero page are
// left out where the kernel tells (PAGEMAP_SCAN, 6.7); the fallback counts them as content: larger, never wrong.
absl::StatusOr<PopulatedPages> scan_pages(int pagemap_fd, Range range, PageSelection selection);
// The same, appended to `pages`, for ranges that ascend.
absl::Status scan_pages(int pagemap_fd, Range range, PageSelection selection, PopulatedPages& pages);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_PAGEMAP_H_
