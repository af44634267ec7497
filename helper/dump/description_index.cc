#include "helper/dump/description_index.h"

#include <fcntl.h>
#include <linux/kcmp.h>

#include <string>

#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"

namespace stillpoint {
namespace {

constexpr int kQueryDuplicate = 1027;  // F_DUPFD_QUERY, Linux 6.10

// POSIX locks are shown to their own process only. They stand last but for leases.
std::string without_posix_locks(absl::string_view fdinfo) {
  const size_t first = fdinfo.find(": POSIX ");
  if (first == absl::string_view::npos) return std::string(fdinfo);
  return std::string(fdinfo.substr(0, fdinfo.rfind("lock:", first)));
}

// Where the kernel does not tell, two that look the same in every respect /proc shows are taken as one: that is what
// dup and inheritance leave behind.
bool look_the_same(const OpenFileView& a, const OpenFileView& b) {
  const int same = a.fd >= 0 && b.fd >= 0 ? ::fcntl(a.fd, kQueryDuplicate, b.fd) : -1;
  return same < 0 ? a.link == b.link && without_posix_locks(a.fdinfo) == without_posix_locks(b.fdinfo) : same == 1;
}

}  // namespace

DescriptionIndex::Order DescriptionIndex::compare(const OpenFileView& a, const OpenFileView& b) {
  ++comparisons_;
  if (feature_disabled("kcmp")) return Order::kUnordered;
  switch (sys_kcmp(a.pid, b.pid, KCMP_FILE, static_cast<uint64_t>(a.number), static_cast<uint64_t>(b.number))) {
    case 0:
      return Order::kSame;
    case 1:
      return Order::kBefore;
    case 2:
      return Order::kAfter;
    default:
      return Order::kUnordered;
  }
}

size_t DescriptionIndex::find_or_enter(const OpenFileView& view, size_t next, const ViewOf& view_of) {
  std::vector<size_t>& group = groups_[{view.stat.st_dev, view.stat.st_ino, view.flags, view.pos}];
  size_t low = 0, high = group.size();
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    const Order order = compare(view_of(group[middle]), view);
    if (order == Order::kSame) return group[middle];
    if (order == Order::kUnordered) {
      for (const size_t number : group) {
        if (look_the_same(view_of(number), view)) return number;
      }
      low = group.size();
      break;
    }
    (order == Order::kBefore ? low : high) = order == Order::kBefore ? middle + 1 : middle;
  }
  group.insert(group.begin() + static_cast<ptrdiff_t>(low), next);
  return next;
}

}  // namespace stillpoint
