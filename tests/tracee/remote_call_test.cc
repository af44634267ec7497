#include "helper/tracee/remote_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstring>

#include "absl/time/clock.h"
#include "helper/base/syscalls.h"
#include "target_process.h"

namespace stillpoint {
namespace {

using ::testing::HasSubstr;

TEST(RemoteCallTest, ManyCallsInEveryThread) {
  TargetProcess target({"blocked", "64"});
  const CodeGadgets gadgets = gadgets_of(target.pid());
  FrozenProcess frozen = freeze_or_die(target.pid());
  for (Thread& thread : frozen.threads()) {
    const GeneralRegisters before = thread.registers().value();
    const std::string extended = thread.extended_registers().value();
    const uint64_t mask = thread.signal_mask().value();
    auto calls = RemoteCalls::begin(thread, target.pid(), gadgets);
    ASSERT_TRUE(calls.ok()) << calls.status();
    for (int i = 0; i < 250; ++i) {
      ASSERT_EQ(calls->call(SYS_getpid).value(), target.pid());
      ASSERT_EQ(calls->call(SYS_gettid).value(), thread.tid());
    }
    ASSERT_TRUE(calls->end().ok());
    const GeneralRegisters after = thread.registers().value();
    EXPECT_EQ(std::memcmp(&before, &after, sizeof before), 0);
    EXPECT_EQ(thread.extended_registers().value(), extended);
    EXPECT_EQ(thread.signal_mask().value(), mask);
  }
  ASSERT_TRUE(frozen.thaw().ok());
  target.finish();
}

TEST(RemoteCallTest, RepeatedWhileItRuns) {
  TargetProcess target({"blocked", "64"});
  const CodeGadgets gadgets = gadgets_of(target.pid());
  for (int i = 0; i < 20; ++i) {
    FrozenProcess frozen = freeze_or_die(target.pid());
    for (Thread& thread : frozen.threads()) {
      auto calls = RemoteCalls::begin(thread, target.pid(), gadgets);
      ASSERT_TRUE(calls.ok()) << calls.status();
      ASSERT_EQ(calls->call(SYS_gettid).value(), thread.tid());
    }
    ASSERT_TRUE(frozen.thaw().ok());
    absl::SleepFor(absl::Milliseconds(3 * (i % 7)));
  }
  target.finish();
}

TEST(RemoteCallTest, ResultsArgumentsAndScratch) {
  TargetProcess target({"many", "1"});
  FrozenProcess frozen = freeze_or_die(target.pid());
  Thread& thread = frozen.threads().front();
  auto calls = RemoteCalls::begin(thread, target.pid(), gadgets_of(target.pid()));
  ASSERT_TRUE(calls.ok()) << calls.status();

  EXPECT_EQ(calls->scratch() % 64, 0u);
  ASSERT_TRUE(calls->checked_call("uname", SYS_uname, {calls->scratch()}).ok());
  utsname name{}, own{};
  ASSERT_TRUE(read_memory(target.pid(), calls->scratch(), &name, sizeof name).ok());
  ASSERT_EQ(::uname(&own), 0);
  EXPECT_STREQ(name.release, own.release);

  // All six arguments.
  const auto address =
      calls->checked_call("mmap", SYS_mmap, {0, kPageSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, ~uint64_t{0}, 0});
  ASSERT_TRUE(address.ok()) << address.status();
  char byte = 1;
  EXPECT_TRUE(read_memory(target.pid(), *address, &byte, 1).ok());
  EXPECT_EQ(byte, 0);
  EXPECT_EQ(calls->call(SYS_munmap, {*address, kPageSize}).value(), 0);

  EXPECT_EQ(calls->call(SYS_close, {12345}).value(), -EBADF);
  const auto failed = calls->checked_call("close", SYS_close, {12345});
  EXPECT_THAT(std::string(failed.status().message()), HasSubstr("EBADF"));
  EXPECT_THAT(std::string(failed.status().message()), HasSubstr("close(...) in tid " + std::to_string(thread.tid())));
  EXPECT_EQ(calls->call(SYS_close, {1, 2, 3, 4, 5, 6, 7}).status().code(), absl::StatusCode::kInvalidArgument);

  ASSERT_TRUE(calls->end().ok());
  EXPECT_FALSE(calls->call(SYS_getpid).ok());
  ASSERT_TRUE(frozen.thaw().ok());
  target.finish();
}

TEST(RemoteCallTest, ThreadMustBeStopped) {
  TargetProcess target({"many", "1"});
  auto thread = Thread::seize(target.pid());
  ASSERT_TRUE(thread.ok()) << thread.status();
  const auto calls = RemoteCalls::begin(*thread, target.pid(), gadgets_of(target.pid()));
  EXPECT_EQ(calls.status().code(), absl::StatusCode::kFailedPrecondition) << calls.status();
}

// A coroutine's stack in a block of memory with other data below it: all of it is as it was afterwards.
TEST(RemoteCallTest, MemoryBelowTheStackIsPutBack) {
  TargetProcess target({"small-stack"});
  const CodeGadgets gadgets = gadgets_of(target.pid());
  for (int i = 0; i < 5; ++i) {
    FrozenProcess frozen = freeze_or_die(target.pid());
    auto calls = RemoteCalls::begin(frozen.threads().front(), target.pid(), gadgets);
    ASSERT_TRUE(calls.ok()) << calls.status();
    ASSERT_TRUE(calls->checked_call("uname", SYS_uname, {calls->scratch()}).ok());
    EXPECT_GE(calls->borrowed_bytes().size(), RemoteCalls::kScratchSize);
    EXPECT_LE(calls->borrowed_address(), calls->scratch());
  }
  target.finish();
}

class StackPointerTest : public ::testing::Test {
 protected:
  StackPointerTest() : target_({"many", "1"}), frozen_(freeze_or_die(target_.pid())) {
    original_ = thread().registers().value();
  }
  ~StackPointerTest() override { EXPECT_TRUE(thread().set_registers(original_).ok()); }

  Thread& thread() { return frozen_.threads().front(); }
  absl::Status begin_at(uint64_t stack_pointer) {
    GeneralRegisters registers = original_;
    registers.rsp = stack_pointer;
    EXPECT_TRUE(thread().set_registers(registers).ok());
    return RemoteCalls::begin(thread(), target_.pid(), gadgets_of(target_.pid())).status();
  }
  uint64_t map(uint32_t protection) {
    auto calls = RemoteCalls::begin(thread(), target_.pid(), gadgets_of(target_.pid()));
    return calls->checked_call("mmap", SYS_mmap, {0, 1 << 20, protection, MAP_PRIVATE | MAP_ANONYMOUS, ~0ull, 0})
        .value();
  }

  TargetProcess target_;
  FrozenProcess frozen_;
  GeneralRegisters original_;
};

TEST_F(StackPointerTest, InNoMapping) {
  for (const uint64_t stack_pointer : {uint64_t{0}, uint64_t{100}, uint64_t{4096}, ~uint64_t{0}, uint64_t{1} << 50}) {
    const absl::Status status = begin_at(stack_pointer);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << stack_pointer << ": " << status;
    EXPECT_EQ(thread().registers().value().rsp, stack_pointer) << "nothing may be changed";
  }
}

TEST_F(StackPointerTest, InReadOnlyMemory) {
  const uint64_t address = map(PROT_READ);
  const absl::Status status = begin_at(address + (512 << 10));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("stack pointer"));
}

TEST_F(StackPointerTest, TooLittleRoom) {
  const uint64_t address = map(PROT_READ | PROT_WRITE);
  const uint64_t below = map(PROT_NONE);  // placed below by the kernel, or at least nowhere above
  EXPECT_LT(below, address);
  EXPECT_EQ(begin_at(address + 1024).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(begin_at(address + (512 << 10)).ok());
}

TEST_F(StackPointerTest, StackThatGrowsDown) {
  const auto maps = procfs::read_maps(target_.pid());
  ASSERT_TRUE(maps.ok());
  for (const procfs::Mapping& mapping : *maps) {
    if (mapping.name != "[stack]") continue;
    EXPECT_TRUE(begin_at(mapping.start + 256).ok());
    return;
  }
  FAIL() << "no [stack]";
}

// Trap 6: a thread that is always inside a restartable sequence goes through its abort handler, and loses none.
TEST(RemoteCallTest, RestartableSequence) {
  TargetProcess target({"rseq"});
  const CodeGadgets gadgets = gadgets_of(target.pid());
  const auto aborts = [&] {
    target.send('?');
    const std::string line = target.read_line();
    EXPECT_EQ(line.rfind("aborts ", 0), 0u) << line;
    return std::atol(line.c_str() + std::strlen("aborts "));
  };
  long before = aborts();
  for (int i = 0; i < 50; ++i) {
    FrozenProcess frozen = freeze_or_die(target.pid());
    for (Thread& thread : frozen.threads()) {
      auto calls = RemoteCalls::begin(thread, target.pid(), gadgets);
      ASSERT_TRUE(calls.ok()) << calls.status();
      for (int j = 0; j < 3; ++j) ASSERT_EQ(calls->call(SYS_gettid).value(), thread.tid());
    }
    ASSERT_TRUE(frozen.thaw().ok());
    EXPECT_TRUE(eventually([&] { return aborts() > before; })) << "stuck in the sequence after freeze " << i;
    before = aborts();
  }
  target.finish();
}

// Trap 5: the filter would kill the process. With CAP_SYS_ADMIN it is suspended, without it the thread is refused.
TEST(RemoteCallTest, SeccompFilter) {
  TargetProcess target({"seccomp"});
  const CodeGadgets gadgets = gadgets_of(target.pid());
  {
    FrozenProcess frozen = freeze_or_die(target.pid());
    auto calls = RemoteCalls::begin(frozen.threads().front(), target.pid(), gadgets);
    if (calls.ok()) {
      EXPECT_EQ(calls->call(SYS_getpid).value(), target.pid());
    } else {
      EXPECT_NE(::geteuid(), 0u) << calls.status();
      EXPECT_EQ(calls.status().code(), absl::StatusCode::kFailedPrecondition) << calls.status();
      EXPECT_THAT(std::string(calls.status().message()), HasSubstr("seccomp"));
    }
  }
  target.finish();
}

TEST(GadgetsTest, NowhereIsAnError) {
  const auto gadgets = find_gadgets(::getpid(), {});
  EXPECT_EQ(gadgets.status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace stillpoint
