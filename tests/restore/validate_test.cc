#include "helper/restore/validate.h"

#include <sys/user.h>

#include <functional>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stillpoint {
namespace {

image::Manifest manifest() {
  image::Manifest m;
  image::FileEntry* file = m.add_files();
  file->set_name("pages-0.bin");
  file->set_size(0x4000);
  return m;
}

model::Tree sound_tree() {
  model::Tree tree;
  model::Process& process = *tree.add_processes();
  process.set_pid(100);
  process.set_address_space(1), process.set_file_table(1), process.set_signal_table(1),
      process.set_filesystem_context(1);
  model::Thread& thread = *process.add_threads();
  thread.set_tid(100);
  thread.set_general_registers(std::string(sizeof(user_regs_struct), '\0'));
  thread.set_extended_registers(std::string(832, '\0'));
  model::AddressSpace& space = *tree.add_address_spaces();
  space.set_id(1), space.set_executable(1);
  model::Vma& vma = *space.add_vmas();
  vma.set_start(0x10000), vma.set_end(0x14000), vma.set_kind(model::Vma::ANONYMOUS);
  model::PageExtent& page = *space.add_pages();
  page.set_address(0x11000), page.set_length(0x2000), page.set_offset(0x1000);
  tree.add_mapped_files()->set_id(1);
  tree.add_signal_tables()->set_id(1);
  tree.add_filesystem_contexts()->set_id(1);
  model::FileTable& table = *tree.add_file_tables();
  table.set_id(1);
  table.add_descriptors()->set_open_file(1);
  tree.add_open_files()->set_id(1);
  return tree;
}

TEST(Validate, ASoundTreePasses) {
  EXPECT_TRUE(validate(sound_tree(), manifest()).ok()) << validate(sound_tree(), manifest());
}

TEST(Validate, EveryImpossibilityIsNamed) {
  struct Case {
    const char* name;
    std::function<void(model::Tree&)> damage;
    const char* says;
  };
  const Case cases[] = {
      {"a lock of no kind", [](model::Tree& t) { t.mutable_open_files(0)->add_locks(); }, "unknown kind 0"},
      {"a lock of a kind to come",
       [](model::Tree& t) { t.mutable_open_files(0)->add_locks()->set_kind(static_cast<model::FileLock::Kind>(9)); },
       "unknown kind 9"},
      {"a lock that ends before it begins",
       [](model::Tree& t) {
         model::FileLock& lock = *t.mutable_open_files(0)->add_locks();
         lock.set_kind(model::FileLock::FLOCK), lock.set_first(2), lock.set_last(1);
       },
       "bytes 2-1"},
      {"a lock behind every file",
       [](model::Tree& t) {
         model::FileLock& lock = *t.mutable_open_files(0)->add_locks();
         lock.set_kind(model::FileLock::FLOCK), lock.set_last(uint64_t{1} << 63);
       },
       "a lock on bytes"},
      {"a lock of nobody",
       [](model::Tree& t) {
         model::FileLock& lock = *t.mutable_open_files(0)->add_locks();
         lock.set_kind(model::FileLock::POSIX), lock.set_pid(7);
       },
       "pid 7"},
      {"a segment of no size",
       [](model::Tree& t) {
         model::SharedMemory& memory = *t.add_shared_memories();
         memory.set_id(1), memory.mutable_sysv();
       },
       "System V segment 0"},
      {"a segment that is larger than its memory",
       [](model::Tree& t) {
         model::SharedMemory& memory = *t.add_shared_memories();
         memory.set_id(1), memory.set_size(4096), memory.mutable_sysv()->set_size(~uint64_t{0});
       },
       "System V segment 0"},
      {"a segment that is a memfd",
       [](model::Tree& t) {
         model::SharedMemory& memory = *t.add_shared_memories();
         memory.set_id(1), memory.set_size(4096), memory.set_memfd(true), memory.mutable_sysv()->set_size(56);
       },
       "another kind of memory"},
      {"two segments with one id",
       [](model::Tree& t) {
         for (const uint64_t id : {1, 2}) {
           model::SharedMemory& memory = *t.add_shared_memories();
           memory.set_id(id), memory.set_size(4096), memory.mutable_sysv()->set_size(56);
         }
       },
       "stands twice"},
      {"no process", [](model::Tree& t) { t.clear_processes(); }, "no process"},
      {"tid 0", [](model::Tree& t) { t.mutable_processes(0)->mutable_threads(0)->set_tid(0); }, "leader"},
      {"two of a tid", [](model::Tree& t) { *t.mutable_processes(0)->add_threads() = t.processes(0).threads(0); },
       "twice"},
      {"registers", [](model::Tree& t) { t.mutable_processes(0)->mutable_threads(0)->set_general_registers("x"); },
       "registers"},
      {"xstate", [](model::Tree& t) { t.mutable_processes(0)->mutable_threads(0)->set_extended_registers("x"); },
       "XSAVE"},
      {"dangling", [](model::Tree& t) { t.mutable_processes(0)->set_signal_table(9); }, "refers"},
      {"unaligned", [](model::Tree& t) { t.mutable_address_spaces(0)->mutable_vmas(0)->set_start(0x10001); },
       "impossible"},
      {"kernel address",
       [](model::Tree& t) { t.mutable_address_spaces(0)->mutable_vmas(0)->set_end(~uint64_t{0xfff}); }, "impossible"},
      {"page outside", [](model::Tree& t) { t.mutable_address_spaces(0)->mutable_pages(0)->set_length(0x4000); },
       "pages"},
      {"page beyond the file",
       [](model::Tree& t) { t.mutable_address_spaces(0)->mutable_pages(0)->set_offset(0x3000); }, "outside pages-0"},
      {"overflow", [](model::Tree& t) { t.mutable_address_spaces(0)->mutable_pages(0)->set_length(~uint64_t{0xfff}); },
       "pages"},
      {"unknown file", [](model::Tree& t) { t.mutable_address_spaces(0)->mutable_pages(0)->set_file(1); },
       "outside pages-1"},
      {"fd", [](model::Tree& t) { t.mutable_file_tables(0)->mutable_descriptors(0)->set_number(-1); }, "fd -1"},
      {"fd to nothing", [](model::Tree& t) { t.mutable_file_tables(0)->mutable_descriptors(0)->set_open_file(4); },
       "no open file"},
      {"executable", [](model::Tree& t) { t.mutable_address_spaces(0)->set_executable(4); }, "executable"},
      {"siginfo", [](model::Tree& t) { t.mutable_processes(0)->add_pending_signals()->set_siginfo("short"); },
       "pending"},
      {"two of an id", [](model::Tree& t) { t.add_open_files()->set_id(1); }, "open file 1 stands twice"},
      {"no id", [](model::Tree& t) { t.add_shared_memories(); }, "without an id"},
      {"huge pages",
       [](model::Tree& t) { t.mutable_address_spaces(0)->mutable_vmas(0)->set_huge_page_size(~uint64_t{0}); },
       "has pages of"},
      {"shared huge pages",
       [](model::Tree& t) {
         t.add_shared_memories()->set_id(1);
         t.mutable_shared_memories(0)->set_huge_page_size(0x300000);
       },
       "has pages of"},
      {"two of a timer",
       [](model::Tree& t) { t.mutable_processes(0)->add_posix_timers(), t.mutable_processes(0)->add_posix_timers(); },
       "timer 0"},
      {"clock", [](model::Tree& t) { t.mutable_clocks()->set_boottime_ns(0x7fffffffffffffff); }, "clock"},
      {"clock before the beginning", [](model::Tree& t) { t.mutable_clocks()->set_monotonic_ns(-1); }, "clock"},
      {"handler", [](model::Tree& t) { t.mutable_signal_tables(0)->add_actions()->set_signal(65); }, "handler"},
  };
  for (const Case& c : cases) {
    model::Tree tree = sound_tree();
    c.damage(tree);
    const absl::Status status = validate(tree, manifest());
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << c.name;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(c.says)) << c.name;
  }
}

TEST(Validate, MutatedStatesNeverCrash) {
  const std::string sound = sound_tree().SerializeAsString();
  std::mt19937 random(2);
  int parsed = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = sound;
    for (unsigned i = 0; i < 1 + random() % 4; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    model::Tree tree;
    if (!tree.ParseFromString(bytes)) continue;
    ++parsed;
    validate(tree, manifest()).IgnoreError();
  }
  EXPECT_GT(parsed, 100);
}

TEST(CheckCpu, NamesWhatIsMissing) {
  image::Manifest m;
  m.add_cpu_features("no_such_feature");
  EXPECT_THAT(std::string(check_cpu(m).message()), testing::HasSubstr("no_such_feature"));
  EXPECT_TRUE(check_cpu(image::Manifest()).ok());
}

}  // namespace
}  // namespace stillpoint
