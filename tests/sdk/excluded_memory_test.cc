#include "sdk/excluded_memory.h"

#include <gtest/gtest.h>
#include <stillpoint/resources.h>

namespace stillpoint::sdk {
namespace {

std::vector<std::pair<uint64_t, uint64_t>> ranges() {
  std::vector<std::pair<uint64_t, uint64_t>> result;
  for (const MemoryRange& range : excluded_ranges()) result.emplace_back(range.start, range.length);
  return result;
}

using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;

TEST(ExcludedMemory, MergesOverlappingAndAdjoiningRanges) {
  for (const MemoryRange range : {MemoryRange{0x5000, 0x1000}, {0x1000, 0x2000}, {0x2000, 0x2000}, {0x4000, 0x800}})
    exclude(range);
  EXPECT_EQ(ranges(), (Ranges{{0x1000, 0x3800}, {0x5000, 0x1000}}));
  EXPECT_FALSE(include({0x1000, 0x1000}));
  EXPECT_TRUE(include({0x2000, 0x2000}));
  EXPECT_EQ(ranges(), (Ranges{{0x1000, 0x2000}, {0x4000, 0x800}, {0x5000, 0x1000}}));
  for (const MemoryRange range : {MemoryRange{0x5000, 0x1000}, {0x1000, 0x2000}, {0x4000, 0x800}})
    EXPECT_TRUE(include(range));
  EXPECT_TRUE(ranges().empty());
}

TEST(ExcludedMemory, CountsEachDeclaration) {
  exclude({0x1000, 0x1000});
  exclude({0x1000, 0x1000});
  EXPECT_TRUE(include({0x1000, 0x1000}));
  EXPECT_EQ(ranges().size(), 1u);
  EXPECT_TRUE(include({0x1000, 0x1000}));
  EXPECT_FALSE(include({0x1000, 0x1000}));
}

TEST(ExcludedMemory, IsScopedInCxx) {
  char scratch[64];
  {
    ExcludedMemory excluded(scratch, sizeof scratch);
    EXPECT_TRUE(excluded.status().ok());
    EXPECT_EQ(ranges().size(), 1u);
    ExcludedMemory moved = std::move(excluded);
    EXPECT_EQ(ranges().size(), 1u);
  }
  EXPECT_TRUE(ranges().empty());
  EXPECT_TRUE(exclude_memory(scratch, sizeof scratch).ok());
  EXPECT_TRUE(include_memory(scratch, sizeof scratch).ok());
  EXPECT_EQ(include_memory(scratch, sizeof scratch).code(), Code::kNotFound);
}

TEST(ExcludedMemory, RefusesRangesThatAreNone) {
  char byte = 0;
  EXPECT_EQ(exclude_memory(nullptr, 10).code(), Code::kInvalidArgument);
  EXPECT_EQ(exclude_memory(&byte, 0).code(), Code::kInvalidArgument);
  EXPECT_EQ(exclude_memory(&byte, ~size_t{0}).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace stillpoint::sdk
