#include "helper/restore/vdso.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "helper/base/syscalls.h"

namespace stillpoint {
namespace {

struct OwnVdso {
  uint64_t base = 0;
  std::string bytes;
  std::vector<procfs::Mapping> mappings;
};

OwnVdso own_vdso() {
  OwnVdso vdso;
  const auto maps = procfs::read_maps(::getpid());
  EXPECT_TRUE(maps.ok()) << maps.status();
  for (const procfs::Mapping& mapping : *maps) {
    if (mapping.name != "[vdso]") continue;
    vdso.base = mapping.start;
    vdso.bytes.assign(reinterpret_cast<const char*>(mapping.start), mapping.end - mapping.start);
  }
  vdso.mappings = *maps;
  return vdso;
}

TEST(VdsoFunctions, FindsTheKernelsOwn) {
  const OwnVdso vdso = own_vdso();
  ASSERT_EQ(vdso.base, ::getauxval(AT_SYSINFO_EHDR));
  const auto functions = vdso_functions(vdso.bytes);
  EXPECT_THAT(functions, testing::Contains(testing::Key("__vdso_clock_gettime")));
  EXPECT_THAT(functions, testing::Contains(testing::Key("__vdso_gettimeofday")));
  for (const auto& [name, offset] : functions) EXPECT_LT(offset, vdso.bytes.size()) << name;
}

TEST(VdsoFunctions, SurvivesDamage) {
  const OwnVdso vdso = own_vdso();
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = vdso.bytes;
    for (int i = 0; i < 8; ++i) bytes[random() % 1024] = static_cast<char>(random());
    bytes.resize(random() % (bytes.size() + 1));
    for (const auto& [name, offset] : vdso_functions(bytes)) EXPECT_LT(offset, bytes.size());
  }
}

// A copy of the vDSO elsewhere, its functions turned into jumps, tells the same time as the real one.
TEST(VdsoStubs, JumpToTheNewFunctions) {
  const OwnVdso vdso = own_vdso();
  const auto stubs = vdso_with_stubs(vdso.bytes, vdso.bytes, vdso.base);
  ASSERT_TRUE(stubs.ok()) << stubs.status();
  void* copy = ::mmap(nullptr, stubs->size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(copy, MAP_FAILED);
  std::memcpy(copy, stubs->data(), stubs->size());
  ASSERT_EQ(::mprotect(copy, stubs->size(), PROT_READ | PROT_EXEC), 0);
  using ClockGettime = int (*)(clockid_t, timespec*);
  const auto clock_gettime_stub =
      reinterpret_cast<ClockGettime>(static_cast<char*>(copy) + vdso_functions(vdso.bytes).at("__vdso_clock_gettime"));
  timespec before{}, through{}, after{};
  ASSERT_EQ(::clock_gettime(CLOCK_MONOTONIC, &before), 0);
  ASSERT_EQ(clock_gettime_stub(CLOCK_MONOTONIC, &through), 0);
  ASSERT_EQ(::clock_gettime(CLOCK_MONOTONIC, &after), 0);
  const auto ns = [](const timespec& t) { return t.tv_sec * 1'000'000'000LL + t.tv_nsec; };
  EXPECT_LE(ns(before), ns(through));
  EXPECT_LE(ns(through), ns(after));
  ::munmap(copy, stubs->size());
}

// Where the new vDSO lacks a function, the stub is the plain system call.
TEST(VdsoStubs, FallBackToTheSystemCall) {
  const OwnVdso vdso = own_vdso();
  const auto stubs = vdso_with_stubs(vdso.bytes, std::string(vdso.bytes.size(), '\0'), vdso.base);
  ASSERT_TRUE(stubs.ok()) << stubs.status();
  void* copy = ::mmap(nullptr, stubs->size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(copy, MAP_FAILED);
  std::memcpy(copy, stubs->data(), stubs->size());
  ASSERT_EQ(::mprotect(copy, stubs->size(), PROT_READ | PROT_EXEC), 0);
  using ClockGettime = int (*)(clockid_t, timespec*);
  const auto clock_gettime_stub =
      reinterpret_cast<ClockGettime>(static_cast<char*>(copy) + vdso_functions(vdso.bytes).at("__vdso_clock_gettime"));
  timespec now{};
  EXPECT_EQ(clock_gettime_stub(CLOCK_REALTIME, &now), 0);
  EXPECT_NEAR(static_cast<double>(now.tv_sec), static_cast<double>(::time(nullptr)), 2);
  EXPECT_EQ(clock_gettime_stub(9999, &now), -EINVAL);  // the raw convention
  ::munmap(copy, stubs->size());
}

model::Tree tree_with_own_vdso(const OwnVdso& vdso) {
  model::Tree tree;
  tree.add_processes();
  model::AddressSpace& space = *tree.add_address_spaces();
  uint64_t vvar = 0;
  for (const procfs::Mapping& mapping : vdso.mappings) {
    if (vvar == 0 && mapping.name.rfind("[vvar", 0) == 0) vvar = mapping.start;
  }
  space.mutable_vdso()->set_vvar_start(vvar);
  space.mutable_vdso()->set_vdso_start(vdso.base);
  space.mutable_vdso()->set_vdso_end(vdso.base + vdso.bytes.size());
  space.mutable_vdso()->set_content(vdso.bytes);
  return tree;
}

TEST(PlanVdso, MovesTheSameVdsoBackToItsPlace) {
  const OwnVdso vdso = own_vdso();
  const model::Tree tree = tree_with_own_vdso(vdso);
  CallList calls;
  const auto plan = plan_vdso(tree.processes(0), tree.address_spaces(0), vdso.mappings, vdso.bytes, 0x10000000, calls);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_FALSE(plan->stubs);
  ASSERT_FALSE(calls.empty());
  EXPECT_EQ(calls.calls().back().arguments[4].value, vdso.base);
}

TEST(PlanVdso, AnotherVdsoGetsStubs) {
  const OwnVdso vdso = own_vdso();
  const model::Tree tree = tree_with_own_vdso(vdso);
  std::string other = vdso.bytes;
  other.back() = static_cast<char>(other.back() ^ 1);
  CallList calls;
  const auto plan = plan_vdso(tree.processes(0), tree.address_spaces(0), vdso.mappings, other, 0x10000000, calls);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(plan->stubs);
  EXPECT_EQ(plan->stub_address, vdso.base);
  EXPECT_EQ(plan->stub_bytes.size(), vdso.bytes.size());
}

TEST(PlanVdso, RefusesStubsUnderAThreadInsideTheVdso) {
  const OwnVdso vdso = own_vdso();
  model::Tree tree = tree_with_own_vdso(vdso);
  std::string registers(27 * 8, '\0');
  const uint64_t rip = vdso.base + 16;
  std::memcpy(registers.data() + 16 * 8, &rip, sizeof rip);
  tree.mutable_processes(0)->add_threads()->set_general_registers(registers);
  std::string other = vdso.bytes;
  other.back() = static_cast<char>(other.back() ^ 1);
  CallList calls;
  const auto plan = plan_vdso(tree.processes(0), tree.address_spaces(0), vdso.mappings, other, 0x10000000, calls);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace stillpoint
