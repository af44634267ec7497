#include "helper/restore/address_space_plan.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stillpoint {
namespace {

procfs::Mapping mapping(uint64_t start, uint64_t end, const std::string& name) {
  procfs::Mapping m;
  m.start = start;
  m.end = end;
  m.name = name;
  return m;
}

std::vector<std::pair<uint64_t, uint64_t>> unmapped(const CallList& calls) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const CallList::Call& call : calls.calls()) {
    EXPECT_EQ(call.number, SYS_munmap);
    ranges.emplace_back(call.arguments[0].value, call.arguments[0].value + call.arguments[1].value);
  }
  return ranges;
}

TEST(PlanUnmapping, KeepsTheWorkerAndTheVdsoOnly) {
  CallList calls;
  plan_unmapping({mapping(0x1000, 0x2000, "/bin/x"), mapping(0x9000, 0xa000, "[vvar]"),
                  mapping(0xa000, 0xb000, "[vdso]"), mapping(0x20000, 0x30000, "[stack]")},
                 {{0x5000, 0x6000}}, calls);
  EXPECT_THAT(unmapped(calls), testing::ElementsAre(testing::Pair(0, 0x5000), testing::Pair(0x6000, 0x9000),
                                                    testing::Pair(0xb000, 0x7ffffffff000)));
}

TEST(PlanUnmapping, TheWorkerMayLieAboveEverything) {
  CallList calls;
  plan_unmapping({mapping(0x1000, 0x2000, "/bin/x")}, {{0x50000, 0x60000}}, calls);
  EXPECT_THAT(unmapped(calls), testing::ElementsAre(testing::Pair(0, 0x50000), testing::Pair(0x60000, 0x7ffffffff000)));
}

TEST(PlanMappings, WhatIsFilledIsWritableFirstAndProtectedAfter) {
  model::Tree tree;
  model::AddressSpace& space = *tree.add_address_spaces();
  model::Vma& filled = *space.add_vmas();
  filled.set_start(0x10000), filled.set_end(0x12000);
  filled.set_protection(PROT_READ | PROT_EXEC);
  filled.set_kind(model::Vma::ANONYMOUS);
  model::Vma& guard = *space.add_vmas();
  guard.set_start(0x12000), guard.set_end(0x13000);
  guard.set_protection(PROT_NONE);
  guard.set_kind(model::Vma::ANONYMOUS);
  model::PageExtent& page = *space.add_pages();
  page.set_address(0x11000), page.set_length(0x1000);

  CallList calls;
  ASSERT_TRUE(plan_mappings(space, tree, {}, calls).ok());
  ASSERT_EQ(calls.calls().size(), 2u);
  EXPECT_EQ(calls.calls()[0].arguments[2].value, uint64_t{PROT_READ | PROT_WRITE});
  EXPECT_EQ(calls.calls()[1].arguments[2].value, uint64_t{PROT_NONE});
  CallList after;
  plan_attributes(space, after);
  ASSERT_EQ(after.calls().size(), 1u);
  EXPECT_EQ(after.calls()[0].number, SYS_mprotect);
  EXPECT_EQ(after.calls()[0].arguments[2].value, uint64_t{PROT_READ | PROT_EXEC});
}

TEST(PlanMappings, AFileThatIsNotThereIsAnError) {
  model::Tree tree;
  model::AddressSpace& space = *tree.add_address_spaces();
  model::Vma& vma = *space.add_vmas();
  vma.set_start(0x10000), vma.set_end(0x12000);
  vma.set_kind(model::Vma::FILE_PRIVATE);
  vma.set_mapped_file(7);
  CallList calls;
  EXPECT_EQ(plan_mappings(space, tree, {}, calls).code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace stillpoint
