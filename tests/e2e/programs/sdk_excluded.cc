// sdk_excluded REPORT DIRECTORY: holds memory that is excluded from its images, takes a checkpoint, and says what is in
// that memory: afterwards what was there, in a new life zeroes; and around it, in pages that are excluded only in part,
// what was there.
#include <stillpoint/checkpoint.h>
#include <stillpoint/resources.h>

#include "tests/e2e/programs/parts/memory_case.h"

using namespace memory;

namespace {

constexpr size_t kSize = 16 * kPage;
constexpr size_t kFrom = 2 * kPage + 100, kTo = 13 * kPage - 8;  // whole pages in it: 3 to 11

struct Region {
  const char* name;
  char* at;
  std::vector<char> original;
};

void say_what_is_in(const Region& region, const char* when) {
  const auto same = [&](size_t from, size_t to) {
    return std::memcmp(region.at + from, region.original.data() + from, to - from) == 0;
  };
  bool zero = true;
  for (size_t i = 3 * kPage; i < 12 * kPage; ++i) zero = zero && region.at[i] == 0;
  const char* inside = zero ? "zero" : same(3 * kPage, 12 * kPage) ? "kept" : "WRONG";
  say("%s %s: excluded %s, around %s", when, region.name, inside,
      same(0, 3 * kPage) && same(12 * kPage, kSize) ? "kept" : "WRONG");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  report_fd = ::open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  g_directory = std::string(argv[1], std::strrchr(argv[1], '/'));
  const int file = make_file("excluded_file", kSize, 3);
  const int memory = ::memfd_create("excluded", MFD_CLOEXEC);
  if (memory < 0 || ::ftruncate(memory, kSize) != 0) return 6;
  std::vector<Region> regions = {{"anonymous", map_private(kSize), {}},
                                 {"dontfork", map_private(kSize), {}},
                                 {"file", map(kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, file), {}},
                                 {"shared", map_shared(kSize, -1), {}},
                                 {"memfd", map_shared(kSize, memory), {}}};
  for (Region& region : regions) {
    if (region.at == nullptr) return 6;
    fill(region.at, std::strcmp(region.name, "file") == 0 ? 5 * kPage : kSize, 17);
    region.original.assign(region.at, region.at + kSize);
    if (!stillpoint::exclude_memory(region.at + kFrom, kTo - kFrom).ok()) return 7;
  }
  if (::madvise(regions[1].at, kSize, MADV_DONTFORK) != 0) return 6;
  stillpoint::CheckpointOptions options;
  options.directory = argv[2];
  const stillpoint::Result<stillpoint::CheckpointResult> result = stillpoint::checkpoint(options);
  if (!result.ok()) {
    say("ERROR %s", result.status().message().c_str());
    return 8;
  }
  const bool restored = result->outcome == stillpoint::Outcome::kRestored;
  for (const Region& region : regions) say_what_is_in(region, restored ? "restored" : "resumed");
  say("end");
  while (!restored) ::pause();
  return 0;
}
