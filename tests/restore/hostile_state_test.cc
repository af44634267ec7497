// States whose checksums are right and whose content lies, as somebody who can write the image could make them. What
// validate() lets through is planned as for a restore; nothing is run. The seeds are fixed, so that a failure comes
// again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/model/ids.h"
#include "helper/restore/address_space_plan.h"
#include "helper/restore/credentials.h"
#include "helper/restore/thread_plan.h"
#include "helper/restore/validate.h"
#include "helper/restore/vdso.h"
#include "tests/model/message_mutator.h"

namespace stillpoint {
namespace {

constexpr int kRounds = 3000;
constexpr int64_t kMaxGrowthKib = 1 << 20;

std::string golden_state() {
  std::ifstream file(STILLPOINT_GOLDEN_DIRECTORY "/v1/state.pb", std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

// A child with an address space of its own, and one that has ended.
void add_children(model::Tree& tree) {
  const model::Process root = tree.processes(0);
  model::Process& child = *tree.add_processes();
  child = root;
  child.set_pid(root.pid() + 10);
  child.set_parent_pid(root.pid());
  child.set_address_space(2);
  child.mutable_threads()->DeleteSubrange(1, child.threads_size() - 1);
  child.mutable_threads(0)->set_tid(child.pid());
  model::AddressSpace& space = *tree.add_address_spaces();
  space = tree.address_spaces(0);
  space.set_id(2);
  model::Process& ended = *tree.add_processes();
  ended.set_pid(root.pid() + 11);
  ended.set_parent_pid(root.pid());
  ended.set_process_group(root.process_group());
  ended.set_session(root.session());
  ended.set_inherits_session(root.inherits_session());
  ended.set_ended(true);
  ended.set_exit_status(0x100);
}

// One of each kind that the golden process, a sleep, does not have.
std::string rich_state() {
  model::Tree tree;
  EXPECT_TRUE(tree.ParseFromString(golden_state()));
  model::Process& process = *tree.mutable_processes(0);
  for (const int id : {0, 3}) {
    model::PosixTimer& timer = *process.add_posix_timers();
    timer.set_id(id);
    timer.set_value_ns(1'500'000'000);
    timer.set_interval_ns(7);
  }
  std::string siginfo(128, '\0');
  siginfo[0] = SIGUSR1;  // si_signo
  process.add_pending_signals()->set_siginfo(siginfo);
  model::Thread& second = *process.add_threads();
  second = process.threads(0);
  second.set_tid(process.pid() + 1);
  second.mutable_signal_stack()->set_address(0x5000);
  second.mutable_rseq()->set_address(0x6000);
  model::SharedMemory& memory = *tree.add_shared_memories();
  memory.set_id(1);
  memory.set_size(0x400000);
  memory.set_huge_page_size(0x200000);
  model::AddressSpace& space = *tree.mutable_address_spaces(0);
  model::Vma vma;
  vma.set_start(0x7ffffff00000);
  vma.set_end(0x7ffffff02000);
  vma.set_kind(model::Vma::SHARED_MEMORY);
  vma.set_shared_memory(1);
  vma.add_advice(14);
  vma.set_anonymous_name("name");
  model::Range& guard = *vma.add_guards();
  guard.set_start(vma.start());
  guard.set_end(vma.end());
  *space.add_vmas() = vma;
  add_children(tree);
  return tree.SerializeAsString();
}

image::Manifest manifest() {
  image::Manifest manifest;
  image::FileEntry& pages = *manifest.add_files();
  pages.set_name("pages-0.bin");
  pages.set_size(uint64_t{1} << 40);  // every extent of the golden state is in it
  return manifest;
}

// Everything that is computed from a state before a task exists. The number of calls that came of it.
absl::StatusOr<size_t> plan(const model::Tree& tree, const std::vector<procfs::Mapping>& mappings,
                            const std::string& vdso) {
  CallList calls;
  std::vector<std::string> notes;
  CallerCredentials caller;
  caller.credentials.set_permitted(~uint64_t{0});
  RETURN_IF_ERROR(check_credentials(tree, caller));
  for (const model::Process& process : tree.processes()) {
    if (process.ended()) continue;
    const model::AddressSpace& space = *model::find_address_space(tree, process.address_space());
    MemoryFds fds;
    for (const model::MappedFile& file : tree.mapped_files()) fds.mapped_files[file.id()] = 3;
    for (const model::SharedMemory& memory : tree.shared_memories()) fds.anonymous_shared[memory.id()] = 0x40000000;
    RETURN_IF_ERROR(plan_vdso(process, space, mappings, vdso, 0x10000000, calls).status());
    RETURN_IF_ERROR(plan_mappings(space, tree, fds, calls));
    plan_attributes(space, calls);
    plan_process_image(space, 3, calls);
    plan_process(process, *model::find_signal_table(tree, process.signal_table()),
                 *model::find_filesystem_context(tree, process.filesystem_context()), "/", calls);
    RETURN_IF_ERROR(plan_late(process, calls, notes));
    for (const model::Thread& thread : process.threads()) plan_thread(thread, process.pid(), caller, calls);
  }
  return calls.calls().size();
}

int64_t peak_memory_kib() {
  rusage usage{};
  EXPECT_EQ(::getrusage(RUSAGE_SELF, &usage), 0);
  return usage.ru_maxrss;
}

class HostileState : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::string> text = procfs::read_text("/proc/self/maps");
    ASSERT_TRUE(text.ok()) << text.status();
    absl::StatusOr<std::vector<procfs::Mapping>> mappings = procfs::parse_maps(*text);
    ASSERT_TRUE(mappings.ok()) << mappings.status();
    mappings_ = *std::move(mappings);
    for (const procfs::Mapping& mapping : mappings_) {
      if (mapping.name != "[vdso]") continue;
      vdso_.resize(mapping.end - mapping.start);
      ASSERT_TRUE(read_memory(::getpid(), mapping.start, vdso_.data(), vdso_.size()).ok());
    }
  }

  std::vector<procfs::Mapping> mappings_;
  std::string vdso_;
};

TEST_F(HostileState, IsRefusedByNameOrPlannedWithinBounds) {
  const std::string sound = rich_state();
  model::Tree tree;
  ASSERT_TRUE(tree.ParseFromString(sound));
  ASSERT_TRUE(validate(tree, manifest()).ok()) << validate(tree, manifest());
  ASSERT_TRUE(plan(tree, mappings_, vdso_).ok()) << plan(tree, mappings_, vdso_).status();

  MessageMutator mutator(20240701);
  const int64_t memory_before = peak_memory_kib();
  int refused = 0, planned = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string bytes = mutator.mutate(sound);
    if (!tree.ParseFromString(bytes)) continue;
    const absl::Status status = validate(tree, manifest());
    if (!status.ok()) {
      ++refused;
      ASSERT_TRUE(absl::IsDataLoss(status) || absl::IsUnimplemented(status)) << round << ": " << status;
      ASSERT_GT(status.message().size(), 10u) << round;
      continue;
    }
    const absl::StatusOr<size_t> calls = plan(tree, mappings_, vdso_);
    if (!calls.ok()) {
      ASSERT_FALSE(calls.status().message().empty()) << round;
      continue;
    }
    ++planned;
    // A few calls for each object that stands in the state, and a table of signals and capabilities for each task.
    ASSERT_LT(*calls, 1000 + bytes.size()) << round;
  }
  EXPECT_GT(refused, kRounds / 10);
  EXPECT_GT(planned, kRounds / 10);
  EXPECT_LT(peak_memory_kib() - memory_before, kMaxGrowthKib);
}

// Older kernels cannot be told a timer's id: they are made to count up to it, but not for ever.
TEST_F(HostileState, ATimerIdBeyondCountingIsAnErrorNotAMillionCalls) {
  model::Tree tree;
  ASSERT_TRUE(tree.ParseFromString(rich_state()));
  tree.mutable_processes(0)->mutable_posix_timers(1)->set_id(0x7fffffff);
  ASSERT_TRUE(validate(tree, manifest()).ok()) << validate(tree, manifest());
  ASSERT_EQ(::setenv("STILLPOINT_DISABLE", "timer_restore_ids", 1), 0);
  const absl::Status status = plan(tree, mappings_, vdso_).status();
  ASSERT_EQ(::unsetenv("STILLPOINT_DISABLE"), 0);
#ifdef STILLPOINT_TEST_SWITCHES
  EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("timer 2147483647"));
#endif
}

}  // namespace
}  // namespace stillpoint
