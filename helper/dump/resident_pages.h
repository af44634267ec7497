// Which pages of a shared mapping exist. Only the process itself can be asked: its page tables need not show a page
// that is there, and reading one that is not would make it.
#ifndef STILLPOINT_HELPER_DUMP_RESIDENT_PAGES_H_
#define STILLPOINT_HELPER_DUMP_RESIDENT_PAGES_H_

#include <vector>

#include "absl/status/statusor.h"
#include "helper/dump/application_calls.h"
#include "helper/memory/range.h"

namespace stillpoint {

// By mincore(2). All of `range` where that does not tell: on a machine that swaps, and for hugetlb.
absl::StatusOr<std::vector<Range>> resident_pages(ApplicationCalls& calls, Range range, bool hugetlb);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_RESIDENT_PAGES_H_
