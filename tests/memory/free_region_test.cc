#include "helper/memory/free_region.h"

#include <random>

#include "gtest/gtest.h"

namespace stillpoint {
namespace {

bool overlaps(const Range& a, const Range& b) { return a.start < b.end && b.start < a.end; }

TEST(FreeRegion, NeverTouchesWhatIsTaken) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 2000; ++round) {
    std::vector<Range> taken = {{0xffffffffff600000, 0xffffffffff601000}};  // [vsyscall]
    for (unsigned i = 0; i < 1 + random() % 40; ++i) {
      // Crowded at the top, where stacks and libraries are.
      const uint64_t start = (0x7fff40000000 - random() % 0x200000000) & ~uint64_t{4095};
      taken.push_back({start, start + 4096 * (1 + random() % 100000)});
    }
    const uint64_t size = 4096 * (1 + random() % 10000);
    const auto found = find_free_region(taken, size);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found % 4096, 0u);
    for (const Range& range : taken) EXPECT_FALSE(overlaps({*found, *found + size}, range)) << std::hex << *found;
  }
}

TEST(FreeRegion, KeepsTheAlignment) {
  const auto found = find_free_region({{0x7ffffff00000, 0x7ffffff10000}}, 4096, uint64_t{2} << 20);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found % (uint64_t{2} << 20), 0u);
}

TEST(FreeRegion, SaysSoWhenThereIsNoRoom) {
  EXPECT_EQ(find_free_region({{4096, 0x7fffffff0000}}, 4096).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace stillpoint
