// Which fds share an open file description, found without comparing each with each.
#ifndef STILLPOINT_HELPER_DUMP_DESCRIPTION_INDEX_H_
#define STILLPOINT_HELPER_DUMP_DESCRIPTION_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <tuple>
#include <vector>

#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// fds of one description agree in device, inode, flags and offset; those that agree are told apart by kcmp(2), whose
// order makes it a binary search. Where kcmp is not to be had they are compared one by one.
class DescriptionIndex {
 public:
  using ViewOf = std::function<const OpenFileView&(size_t)>;

  // The number of the description that `view` refers to, of those entered; `next` when it is none of them: then it is
  // entered as that. `view_of` gives the view that a number was entered with.
  size_t find_or_enter(const OpenFileView& view, size_t next, const ViewOf& view_of);

  size_t comparisons() const { return comparisons_; }

 private:
  using Key = std::tuple<uint64_t, uint64_t, uint64_t, int64_t>;  // device, inode, flags, offset
  enum class Order { kSame, kBefore, kAfter, kUnordered };
  Order compare(const OpenFileView& a, const OpenFileView& b);

  std::map<Key, std::vector<size_t>> groups_;  // each in kcmp's order
  size_t comparisons_ = 0;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_DESCRIPTION_INDEX_H_
