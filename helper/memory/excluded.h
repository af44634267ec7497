// Memory that the application does not want in its images.
#ifndef STILLPOINT_HELPER_MEMORY_EXCLUDED_H_
#define STILLPOINT_HELPER_MEMORY_EXCLUDED_H_

#include <vector>

#include "helper/memory/range.h"

namespace stillpoint {

// Whole pages inside `excluded`, sorted and joined: a page that is only partly excluded is kept. The ranges come from
// the application: any order, any overlap, any nonsense (an end before its start excludes nothing).
std::vector<Range> excluded_pages(std::vector<Range> excluded);

// `ranges` without `excluded`; both ascending and without overlap, as excluded_pages returns them.
std::vector<Range> subtract(const std::vector<Range>& ranges, const std::vector<Range>& excluded);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_EXCLUDED_H_
