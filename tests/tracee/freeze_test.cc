#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <vector>

#include "absl/time/clock.h"
#include "helper/procfs/process_files.h"
#include "helper/tracee/stragglers.h"
#include "target_process.h"

namespace stillpoint {
namespace {

using ::testing::HasSubstr;

std::set<pid_t> living_tids(pid_t pid) {
  std::set<pid_t> tids;
  const auto listed = procfs::read_tids(pid);
  EXPECT_TRUE(listed.ok()) << listed.status();
  for (const pid_t tid : *listed) {
    if (state_of(pid, tid) != 'Z') tids.insert(tid);
  }
  return tids;
}

std::set<pid_t> frozen_tids(FrozenProcess& process) {
  std::set<pid_t> tids;
  for (const Thread& thread : process.threads()) {
    EXPECT_TRUE(thread.stopped());
    EXPECT_EQ(state_of(process.pid(), thread.tid()), 't');
    tids.insert(thread.tid());
  }
  return tids;
}

TEST(FreezeTest, StopsEveryThreadAndLetsGo) {
  TargetProcess target({"blocked", "64"});
  for (int i = 0; i < 30; ++i) {
    FrozenProcess frozen = freeze_or_die(target.pid());
    EXPECT_EQ(frozen.threads().size(), 65u);
    EXPECT_EQ(frozen.threads().front().tid(), target.pid());
    EXPECT_EQ(frozen_tids(frozen), living_tids(target.pid()));
    EXPECT_NE(frozen.find(target.pid()), nullptr);
    EXPECT_EQ(frozen.find(1), nullptr);
    ASSERT_TRUE(frozen.thaw().ok());
  }
  target.finish();
}

TEST(FreezeTest, DestructionLetsGo) {
  TargetProcess target({"blocked", "20"});
  { const FrozenProcess frozen = freeze_or_die(target.pid()); }
  target.finish();
}

TEST(FreezeTest, ThousandThreads) {
  TargetProcess target({"many", "1000"});
  const absl::Time start = absl::Now();
  FrozenProcess frozen = freeze_or_die(target.pid());
  RecordProperty("freeze_ms", static_cast<int>(absl::ToInt64Milliseconds(absl::Now() - start)));
  EXPECT_EQ(frozen.threads().size(), 1001u);
  ASSERT_TRUE(frozen.thaw().ok());
  target.finish();
}

TEST(FreezeTest, ThreadsMadeWhileFreezing) {
  TargetProcess target({"thread-storm"});
  for (int i = 0; i < 60; ++i) {
    FrozenProcess frozen = freeze_or_die(target.pid());
    const std::set<pid_t> tids = living_tids(target.pid());
    EXPECT_EQ(frozen_tids(frozen), tids);
    absl::SleepFor(absl::Microseconds(200));
    EXPECT_EQ(living_tids(target.pid()), tids) << "a thread was still running";
    ASSERT_TRUE(frozen.thaw().ok());
  }
  target.finish();
}

TEST(FreezeTest, LeaderThatLeft) {
  TargetProcess target({"zombie-leader"});
  ASSERT_EQ(state_of(target.pid(), target.pid()), 'Z');
  FrozenProcess frozen = freeze_or_die(target.pid());
  ASSERT_EQ(frozen.threads().size(), 1u);
  EXPECT_NE(frozen.threads().front().tid(), target.pid());
  ASSERT_TRUE(frozen.thaw().ok());
  target.finish();
}

TEST(FreezeTest, GroupStoppedStaysStopped) {
  TargetProcess target({"blocked", "10"});
  ASSERT_EQ(::kill(target.pid(), SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(target.pid(), &status, WUNTRACED), target.pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  const CodeGadgets gadgets = gadgets_of(target.pid());
  for (int i = 0; i < 5; ++i) {
    FrozenProcess frozen = freeze_or_die(target.pid());
    for (Thread& thread : frozen.threads()) {
      EXPECT_TRUE(thread.group_stopped());
      auto calls = RemoteCalls::begin(thread, target.pid(), gadgets);
      ASSERT_TRUE(calls.ok()) << calls.status();
      EXPECT_EQ(calls->call(SYS_getpid).value(), target.pid());
      ASSERT_TRUE(calls->end().ok());
    }
    ASSERT_TRUE(frozen.thaw().ok());
    for (const pid_t tid : living_tids(target.pid())) {
      EXPECT_TRUE(eventually([&] { return state_of(target.pid(), tid) == 'T'; })) << tid;
    }
  }
  ASSERT_EQ(::kill(target.pid(), SIGCONT), 0);
  target.finish();
}

TEST(FreezeTest, NotGroupStoppedOtherwise) {
  TargetProcess target({"blocked", "10"});
  FrozenProcess frozen = freeze_or_die(target.pid());
  for (const Thread& thread : frozen.threads()) EXPECT_FALSE(thread.group_stopped());
}

TEST(FreezeTest, KernelThreadsAreRefusedByName) {
  constexpr uint64_t kKernelThread = 0x00200000;  // linux/sched.h: PF_KTHREAD
  for (pid_t pid = 2; pid < 100; ++pid) {
    const auto stat = procfs::read_stat(pid);
    if (!stat.ok() || (stat->flags & kKernelThread) == 0) continue;
    const auto frozen = FrozenProcess::freeze(pid, absl::Now() + kPatience);
    EXPECT_EQ(frozen.status().code(), absl::StatusCode::kInvalidArgument) << frozen.status();
    EXPECT_THAT(std::string(frozen.status().message()), HasSubstr("is a kernel thread ("));
    return;
  }
  GTEST_SKIP() << "no kernel thread is to be seen in this pid namespace";
}

// SIGSTOP that arrives while the process is frozen takes effect when it is let go.
TEST(FreezeTest, StopSignalWhileFrozen) {
  TargetProcess target({"blocked", "10"});
  {
    FrozenProcess frozen = freeze_or_die(target.pid());
    ASSERT_EQ(::kill(target.pid(), SIGSTOP), 0);
    auto calls = RemoteCalls::begin(frozen.threads().front(), target.pid(), gadgets_of(target.pid()));
    ASSERT_TRUE(calls.ok()) << calls.status();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(calls->call(SYS_getpid).value(), target.pid());
  }
  for (const pid_t tid : living_tids(target.pid())) {
    EXPECT_TRUE(eventually([&] { return state_of(target.pid(), tid) == 'T'; })) << tid;
  }
  ASSERT_EQ(::kill(target.pid(), SIGCONT), 0);
  target.finish();
}

TEST(FreezeTest, TracedByAnotherIsRefusedByName) {
  TargetProcess target({"blocked", "10"});
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  ChildProcess tracer([&] {
    const auto tids = procfs::read_tids(target.pid());
    if (!tids.ok() || ::ptrace(PTRACE_SEIZE, tids->back(), 0, 0) != 0) return 1;
    if (::write(ready[1], "r", 1) != 1) return 1;
    for (;;) ::pause();
  });
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const auto frozen = FrozenProcess::freeze(target.pid(), absl::Now() + kPatience);
  EXPECT_EQ(frozen.status().code(), absl::StatusCode::kFailedPrecondition) << frozen.status();
  EXPECT_THAT(std::string(frozen.status().message()),
              HasSubstr("traced already by pid " + std::to_string(tracer.pid())));
  EXPECT_THAT(std::string(frozen.status().message()), HasSubstr("(tracee_test), and only one can trace"));
  tracer.kill_and_wait();
  ::close(ready[0]);
  ::close(ready[1]);
  freeze_or_die(target.pid());
  target.finish();
}

TEST(FreezeTest, VforkParentIsADeadlineError) {
  TargetProcess target({"vfork"});
  ASSERT_TRUE(eventually([&] { return state_of(target.pid(), target.pid()) == 'D'; }));
  const auto frozen = FrozenProcess::freeze(target.pid(), absl::Now() + absl::Milliseconds(200));
  EXPECT_EQ(frozen.status().code(), absl::StatusCode::kDeadlineExceeded) << frozen.status();
  EXPECT_THAT(std::string(frozen.status().message()), HasSubstr("tid " + std::to_string(target.pid())));
  EXPECT_THAT(std::string(frozen.status().message()), HasSubstr("state D"));
  target.finish();
}

// Caught in vfork between the check and the interrupt: it may not stand still when it can move again.
TEST(FreezeTest, StragglerIsLetGoWhenItStops) {
  TargetProcess target({"vfork"});
  ASSERT_TRUE(eventually([&] { return state_of(target.pid(), target.pid()) == 'D'; }));
  {
    auto thread = Thread::seize(target.pid());
    ASSERT_TRUE(thread.ok()) << thread.status();
    ASSERT_TRUE(thread->interrupt().ok());
    EXPECT_EQ(thread->wait_stopped(absl::Now() + absl::Milliseconds(50)).code(), absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_EQ(detach_stragglers(), 1u);
  target.send('q');
  EXPECT_TRUE(eventually([] { return detach_stragglers() == 0; }));
  target.finish();
}

TEST(FreezeTest, EndedProcess) {
  pid_t pid = 0;
  {
    TargetProcess target({"many", "1"});
    pid = target.pid();
  }
  const auto frozen = FrozenProcess::freeze(pid, absl::Now() + kPatience);
  EXPECT_EQ(frozen.status().code(), absl::StatusCode::kNotFound) << frozen.status();
}

TEST(FreezeTest, KilledWhileFrozen) {
  TargetProcess target({"blocked", "20"});
  FrozenProcess frozen = freeze_or_die(target.pid());
  auto calls = RemoteCalls::begin(frozen.threads().back(), target.pid(), gadgets_of(target.pid()));
  ASSERT_TRUE(calls.ok()) << calls.status();
  std::vector<pid_t> tids;
  for (const Thread& thread : frozen.threads()) tids.push_back(thread.tid());
  ASSERT_EQ(::kill(target.pid(), SIGKILL), 0);
  absl::Status status;
  for (int i = 0; i < 1000 && status.ok(); ++i) status = calls->call(SYS_getpid).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  EXPECT_FALSE(calls->end().ok());
  EXPECT_TRUE(frozen.thaw().ok());
  int wait_status = 0;
  siginfo_t info{};
  // A thread that dies while it is traced is its tracer's to collect; a helper that ends does so by ending.
  for (int i = 0; i < 2000 && info.si_pid == 0; ++i) {
    for (const pid_t tid : tids) {
      if (tid != target.pid()) ::waitpid(tid, nullptr, __WALL | WNOHANG);
    }
    EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(target.pid()), &info, WEXITED | WNOWAIT | WNOHANG), 0)
        << "the exit status belongs to the process's parent";
    ::usleep(5000);
  }
  EXPECT_EQ(info.si_code, CLD_KILLED) << wait_status;
}

// All of it without privilege.
TEST(FreezeTest, OrdinaryUser) {
  ChildProcess user([] {
    constexpr uid_t kNobody = 65534;
    if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 ||
                             ::setresuid(kNobody, kNobody, kNobody) != 0)) {
      return 1;
    }
    TargetProcess target({"blocked", "30"});
    const CodeGadgets gadgets = gadgets_of(target.pid());
    for (int i = 0; i < 5; ++i) {
      FrozenProcess frozen = freeze_or_die(target.pid());
      for (Thread& thread : frozen.threads()) {
        auto calls = RemoteCalls::begin(thread, target.pid(), gadgets);
        if (!calls.ok() || calls->call(SYS_gettid).value() != thread.tid() || !calls->end().ok()) return 2;
      }
      if (!frozen.thaw().ok()) return 3;
    }
    target.finish();
    return ::testing::Test::HasFailure() ? 4 : 0;
  });
  EXPECT_EQ(user.wait(), 0);
}

}  // namespace
}  // namespace stillpoint
