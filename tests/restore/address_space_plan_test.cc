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

model::Vma& add_vma(model::AddressSpace& space, model::Vma::Kind kind, uint64_t start, uint32_t protection) {
  model::Vma& vma = *space.add_vmas();
  vma.set_kind(kind);
  vma.set_start(start), vma.set_end(start + 0x1000);
  vma.set_protection(protection);
  return vma;
}

const CallList::Call* find_call(const CallList& calls, long number, uint64_t argument0) {
  for (const CallList::Call& call : calls.calls()) {
    if (call.number == number && call.arguments[0].value == argument0) return &call;
  }
  return nullptr;
}

TEST(PlanMappings, AdviceOnHugePagesComesBeforeThePagesAndTheRestAfter) {
  model::Tree tree;
  model::AddressSpace& space = *tree.add_address_spaces();
  model::Vma& vma = add_vma(space, model::Vma::ANONYMOUS, 0x10000, PROT_READ | PROT_WRITE);
  vma.add_advice(MADV_HUGEPAGE);
  vma.add_advice(MADV_DONTFORK);
  CallList before, after;
  ASSERT_TRUE(plan_mappings(space, tree, {}, before).ok());
  plan_attributes(space, after);
  ASSERT_EQ(before.calls().size(), 2u);
  EXPECT_EQ(before.calls()[1].number, SYS_madvise);
  EXPECT_EQ(before.calls()[1].arguments[2].value, uint64_t{MADV_HUGEPAGE});
  ASSERT_EQ(after.calls().size(), 1u);
  EXPECT_EQ(after.calls()[0].arguments[2].value, uint64_t{MADV_DONTFORK});
}

TEST(PlanMappings, WhatMustNeverBeWritableIsMappedFromAReadOnlyFd) {
  model::Tree tree;
  tree.add_mapped_files()->set_id(1);
  model::AddressSpace& space = *tree.add_address_spaces();
  add_vma(space, model::Vma::FILE_SHARED, 0x10000, PROT_READ).set_mapped_file(1);
  model::Vma& could_be = add_vma(space, model::Vma::FILE_SHARED, 0x20000, PROT_READ);
  could_be.set_mapped_file(1);
  could_be.set_may_write(true);
  add_vma(space, model::Vma::FILE_PRIVATE, 0x30000, PROT_READ).set_mapped_file(1);
  add_vma(space, model::Vma::SHARED_MEMORY, 0x40000, PROT_READ).set_shared_memory(2);
  add_vma(space, model::Vma::SHARED_MEMORY, 0x50000, PROT_READ | PROT_WRITE).set_shared_memory(2);
  MemoryFds fds;
  fds.mapped_files[1] = 11, fds.read_only_files[1] = 12;
  fds.shared_memories[2] = 21, fds.read_only_memories[2] = 22;
  CallList calls;
  ASSERT_TRUE(plan_mappings(space, tree, fds, calls).ok());
  std::vector<uint64_t> used;
  for (const CallList::Call& call : calls.calls()) used.push_back(call.arguments[4].value);
  EXPECT_THAT(used, testing::ElementsAre(12, 11, 11, 22, 21));
}

// Locking a guard page locks it and fails: the mapping is as it was.
TEST(PlanAttributes, LocksMayFailOnlyWherePagesMayBeMissing) {
  model::AddressSpace space;
  add_vma(space, model::Vma::ANONYMOUS, 0x10000, PROT_READ).set_locked(true);
  add_vma(space, model::Vma::ANONYMOUS, 0x20000, PROT_NONE).set_locked(true);
  add_vma(space, model::Vma::FILE_PRIVATE, 0x30000, PROT_READ).set_locked(true);
  model::Vma& guarded = add_vma(space, model::Vma::ANONYMOUS, 0x40000, PROT_READ);
  guarded.set_locked(true);
  guarded.add_guards()->set_start(0x40000);
  space.set_mlock_future(true);
  space.set_mlock_on_fault(true);
  CallList calls;
  plan_attributes(space, calls);
  EXPECT_FALSE(find_call(calls, SYS_mlock2, 0x10000)->may_fail);
  EXPECT_TRUE(find_call(calls, SYS_mlock2, 0x20000)->may_fail);
  EXPECT_TRUE(find_call(calls, SYS_mlock2, 0x30000)->may_fail);
  EXPECT_TRUE(find_call(calls, SYS_mlock2, 0x40000)->may_fail);
  EXPECT_NE(find_call(calls, SYS_mlockall, MCL_FUTURE | MCL_ONFAULT), nullptr);
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
