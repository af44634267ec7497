#include "sdk/excluded_memory.h"

#include <algorithm>
#include <memory>
#include <mutex>

#include "sdk/fork_safe_lock.h"

namespace stillpoint::sdk {
namespace {

// As in hook_registry.cc: every change is one store, and the list is never destroyed.
struct Node {
  MemoryRange range;
  Node* next = nullptr;
};

struct List {
  ForkSafeLock lock;
  Node* first = nullptr;
};

List& list() {
  static List* const instance = new List;
  return *instance;
}

}  // namespace

void exclude(MemoryRange range) {
  List& all = list();
  std::lock_guard guard(all.lock);
  all.first = new Node{range, all.first};
}

bool include(MemoryRange range) {
  List& all = list();
  std::unique_ptr<Node> removed;
  std::lock_guard guard(all.lock);
  for (Node** link = &all.first; *link != nullptr; link = &(*link)->next) {
    if ((*link)->range.start != range.start || (*link)->range.length != range.length) continue;
    removed.reset(*link);
    *link = removed->next;
    return true;
  }
  return false;
}

std::vector<MemoryRange> excluded_ranges() {
  std::vector<MemoryRange> ranges;
  {
    List& all = list();
    std::lock_guard guard(all.lock);
    for (const Node* node = all.first; node != nullptr; node = node->next) ranges.push_back(node->range);
  }
  std::sort(ranges.begin(), ranges.end(), [](const MemoryRange& a, const MemoryRange& b) { return a.start < b.start; });
  std::vector<MemoryRange> merged;
  for (const MemoryRange& range : ranges) {
    if (!merged.empty() && range.start <= merged.back().start + merged.back().length) {
      const uint64_t end = std::max(merged.back().start + merged.back().length, range.start + range.length);
      merged.back().length = end - merged.back().start;
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

}  // namespace stillpoint::sdk
