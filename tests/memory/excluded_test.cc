#include "helper/memory/excluded.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ExcludedPages, OnlyWholePagesInside) {
  EXPECT_THAT(excluded_pages({{0x1001, 0x3fff}}), ElementsAre(Range{0x2000, 0x3000}));
  EXPECT_THAT(excluded_pages({{0x1001, 0x2000}}), IsEmpty());
  EXPECT_THAT(excluded_pages({{0x1000, 0x2000}}), ElementsAre(Range{0x1000, 0x2000}));
}

TEST(ExcludedPages, SortsAndJoins) {
  EXPECT_THAT(excluded_pages({{0x9000, 0xa000}, {0x1000, 0x4000}, {0x2000, 0x3000}, {0x4000, 0x5000}}),
              ElementsAre(Range{0x1000, 0x5000}, Range{0x9000, 0xa000}));
}

TEST(ExcludedPages, NonsenseExcludesNothing) {
  const uint64_t top = ~uint64_t{0};
  EXPECT_THAT(excluded_pages({{0x5000, 0x1000}, {top - 10, top}, {top, 3}, {0, 0}}), IsEmpty());
}

TEST(Subtract, CutsBeginMiddleAndEnd) {
  const std::vector<Range> ranges = {{0x1000, 0x9000}, {0xa000, 0xb000}, {0xc000, 0xd000}};
  EXPECT_THAT(subtract(ranges, {{0x0, 0x2000}, {0x4000, 0x5000}, {0x8000, 0xc000}}),
              ElementsAre(Range{0x2000, 0x4000}, Range{0x5000, 0x8000}, Range{0xc000, 0xd000}));
  EXPECT_THAT(subtract(ranges, {}), ElementsAre(ranges[0], ranges[1], ranges[2]));
  EXPECT_THAT(subtract(ranges, {{0x0, 0x10000}}), IsEmpty());
}

// Against a page-by-page reckoning.
TEST(Subtract, AgreesWithTheObviousWay) {
  std::mt19937 random(42);
  for (int round = 0; round < 500; ++round) {
    constexpr uint64_t kPages = 64;
    std::vector<bool> in(kPages), out(kPages);
    const auto ranges_of = [](const std::vector<bool>& pages) {
      std::vector<Range> ranges;
      for (uint64_t i = 0; i < pages.size(); ++i) {
        if (pages[i]) append_range(ranges, {i * 4096, (i + 1) * 4096});
      }
      return ranges;
    };
    for (uint64_t i = 0; i < kPages; ++i) {
      in[i] = random() % 3 != 0;
      out[i] = random() % 3 == 0;
    }
    std::vector<bool> left(kPages);
    for (uint64_t i = 0; i < kPages; ++i) left[i] = in[i] && !out[i];
    ASSERT_EQ(subtract(ranges_of(in), ranges_of(out)), ranges_of(left));
  }
}

}  // namespace
}  // namespace stillpoint
