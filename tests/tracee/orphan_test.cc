// The helper dies: whatever it was doing, the program goes on with the right values (traps 1 and 2).
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>

#include "absl/time/clock.h"
#include "target_process.h"

namespace stillpoint {
namespace {

// What a helper does, without end: freeze, call, thaw.
int trace_forever(pid_t pid, int started) {
  const CodeGadgets gadgets = gadgets_of(pid);
  if (::write(started, "s", 1) != 1) return 1;
  for (size_t round = 0;; ++round) {
    FrozenProcess frozen = freeze_or_die(pid);
    for (size_t i = 0; i < frozen.threads().size(); ++i) {
      Thread& thread = frozen.threads()[(i + round) % frozen.threads().size()];
      auto calls = RemoteCalls::begin(thread, pid, gadgets);
      if (!calls.ok()) return 2;
      for (int call = 0; call < 20; ++call) {
        if (calls->call(SYS_gettid).value() != thread.tid()) return 3;
      }
      if (!calls->end().ok()) return 4;
    }
    if (!frozen.thaw().ok()) return 5;
  }
}

class OrphanTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::pipe(started_), 0); }
  void TearDown() override {
    ::close(started_[0]);
    ::close(started_[1]);
  }
  void await_start() const {
    char byte = 0;
    ASSERT_EQ(::read(started_[0], &byte, 1), 1);
  }

  int started_[2];
};

TEST_F(OrphanTest, KilledAtRandomMoments) {
  std::mt19937 random(20240607);
  TargetProcess target({"blocked", "64", "helper-dies"});
  for (int i = 0; i < 80; ++i) {
    ChildProcess helper([&] { return trace_forever(target.pid(), started_[1]); });
    await_start();
    absl::SleepFor(absl::Microseconds(random() % 6000));
    const int status = helper.kill_and_wait();
    ASSERT_TRUE(WIFSIGNALED(status)) << "the helper ended by itself: " << status;
    EXPECT_NE(state_of(target.pid(), target.pid()), 't');
  }
  target.finish();
}

// Each thread in turn is the one left inside a call, entered or done.
class OrphanStageTest : public OrphanTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(OrphanStageTest, EveryThread) {
  {
    ChildProcess probe([] {
      ::setenv("STILLPOINT_DIE_AT", "remote-call-done", 1);
      TargetProcess probed({"many", "1"});
      FrozenProcess frozen = freeze_or_die(probed.pid());
      auto calls = RemoteCalls::begin(frozen.threads().front(), probed.pid(), gadgets_of(probed.pid()));
      calls->call(SYS_getpid).IgnoreError();
      ::kill(probed.pid(), SIGKILL);
      return 0;
    });
    if (const int status = probe.wait(); WIFEXITED(status) && WEXITSTATUS(status) == 0) {
      GTEST_SKIP() << "built without STILLPOINT_TEST_SWITCHES";
    }
  }
  TargetProcess target({"blocked", "64", "helper-dies"});
  for (size_t i = 0; i < 65; ++i) {
    ChildProcess helper([&] {
      ::setenv("STILLPOINT_DIE_AT", GetParam(), 1);
      FrozenProcess frozen = freeze_or_die(target.pid());
      auto calls = RemoteCalls::begin(frozen.threads()[i], target.pid(), gadgets_of(target.pid()));
      if (!calls.ok()) return 1;
      calls->call(SYS_getpid).IgnoreError();
      return 2;
    });
    const int status = helper.wait();
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  }
  // Threads that were lost would be missing, those with wrong registers or masks would say so.
  absl::SleepFor(absl::Milliseconds(50));
  {
    FrozenProcess frozen = freeze_or_die(target.pid());
    EXPECT_EQ(frozen.threads().size(), 65u);
    for (const Thread& thread : frozen.threads()) {
      EXPECT_NE(thread.signal_mask().value(), ~uint64_t{0} & ~(uint64_t{1} << (SIGKILL - 1))) << thread.tid();
    }
  }
  target.finish();
}

INSTANTIATE_TEST_SUITE_P(Stages, OrphanStageTest, ::testing::Values("remote-call-entered", "remote-call-done"),
                         [](const auto& instance) {
                           return std::string(instance.param) == "remote-call-done" ? "Done" : "Entered";
                         });

// Clones the target's address space as a dump does, tells the child's pid, and waits to be killed.
int clone_and_wait(pid_t pid, int report, bool adopt) {
  FrozenProcess frozen = freeze_or_die(pid);
  Thread& thread = frozen.threads().front();
  if (!thread.set_options(PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK).ok()) return 1;
  auto calls = RemoteCalls::begin(thread, pid, gadgets_of(pid));
  if (!calls.ok()) return 2;
  const auto stack = calls->exiting_child_stack();
  if (!stack.ok()) return 3;
  const auto result = calls->call(SYS_clone, {0, *stack, 0, 0, 0});
  if (!result.ok() || *result <= 0 || calls->last_child() != *result) return 4;
  const pid_t child_pid = calls->last_child();
  if (adopt) {
    Thread child = Thread::adopt(child_pid);
    if (!child.wait_stopped(absl::Now() + kPatience).ok()) return 5;
    auto child_calls = RemoteCalls::begin(child, child_pid, gadgets_of(child_pid));
    if (!child_calls.ok() || child_calls->call(SYS_getpid).value() != child_pid) return 6;
    if (!child_calls->end().ok()) return 7;
    if (::write(report, &child_pid, sizeof child_pid) != sizeof child_pid) return 8;
    for (;;) ::pause();
  }
  if (::write(report, &child_pid, sizeof child_pid) != sizeof child_pid) return 9;
  for (;;) ::pause();
}

class OrphanedSnapshotTest : public OrphanTest, public ::testing::WithParamInterface<bool> {};

TEST_P(OrphanedSnapshotTest, ExitsByItself) {
  TargetProcess target({"blocked", "30", "helper-dies"});
  ChildProcess helper([&] { return clone_and_wait(target.pid(), started_[1], GetParam()); });
  pid_t snapshot = 0;
  pollfd entry = {started_[0], POLLIN, 0};
  ASSERT_EQ(::poll(&entry, 1, 60000), 1);
  ASSERT_EQ(::read(started_[0], &snapshot, sizeof snapshot), static_cast<ssize_t>(sizeof snapshot));
  ASSERT_NE(state_of(snapshot, snapshot), '\0');
  const int status = helper.kill_and_wait();
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_TRUE(eventually([&] {
    const char state = state_of(snapshot, snapshot);
    return state == 'Z' || state == '\0';  // the target does not wait for it
  }));
  if (const auto stat = procfs::read_stat(snapshot); stat.ok()) {
    EXPECT_EQ(stat->exit_code, 0);
  }
  target.finish();
}

INSTANTIATE_TEST_SUITE_P(Adopted, OrphanedSnapshotTest, ::testing::Bool(),
                         [](const auto& instance) { return instance.param ? "AfterCalls" : "AtBirth"; });

// The task between the target and its snapshot: when the helper dies, it ends, and the target has waited for it.
class OrphanedIntermediateTest : public OrphanTest, public ::testing::WithParamInterface<const char*> {};

int start_intermediate_and_die(pid_t pid, const std::string& stage) {
  FrozenProcess frozen = freeze_or_die(pid);
  Thread& thread = frozen.threads().front();
  if (!thread.set_options(PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK).ok()) return 1;
  auto calls = RemoteCalls::begin(thread, pid, gadgets_of(pid));
  if (!calls.ok()) return 2;
  if (stage == "remote-call-entered") ::setenv("STILLPOINT_DIE_AT", stage.c_str(), 1);
  const auto task = calls->start_intermediate();
  if (!task.ok()) return 3;
  if (stage == "started") ::raise(SIGKILL);
  {
    Thread between = Thread::adopt(*task, thread.options());
    if (!between.wait_stopped(absl::Now() + kPatience).ok()) return 4;
    auto inner = RemoteCalls::begin(between, *task, gadgets_of(pid));
    if (!inner.ok() || inner->call(SYS_getpid).value() != *task) return 5;
    if (stage == "used") ::raise(SIGKILL);
    if (!inner->end().ok()) return 6;
  }
  if (stage == "remote-call-done") ::setenv("STILLPOINT_DIE_AT", stage.c_str(), 1);
  if (!calls->finish_intermediate().ok()) return 7;
  return stage == "finished" && calls->end().ok() && frozen.thaw().ok() ? 0 : 8;
}

TEST_P(OrphanedIntermediateTest, LeavesNoChild) {
  const std::string stage = GetParam();
  TargetProcess target({"blocked", "30", "helper-dies"});
  for (int i = 0; i < 20; ++i) {
    ChildProcess helper([&] { return start_intermediate_and_die(target.pid(), stage); });
    const int status = helper.wait();
    if (stage.find("remote-call-") == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 8) {
      GTEST_SKIP() << "built without STILLPOINT_TEST_SWITCHES";
    }
    ASSERT_EQ(status, stage == "finished" ? 0 : SIGKILL) << "exit code " << WEXITSTATUS(status);
    ASSERT_TRUE(eventually([&] {
      const auto children = procfs::read_children(target.pid());
      return children.ok() && children->empty();
    })) << "round "
        << i;
  }
  target.finish();
}

INSTANTIATE_TEST_SUITE_P(Stages, OrphanedIntermediateTest,
                         ::testing::Values("remote-call-entered", "started", "used", "remote-call-done", "finished"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace stillpoint
