// Checkpoint, kill, restart, checkpoint, kill, restart ...: every life goes on where the one before was, whoever the
// user is, whatever its pid is taken by, and from wherever it is restarted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kGenerations = 3;

// What whoever runs the tests is, and an ordinary user without any capability.
enum class User { kTester, kOrdinary };

uid_t uid_of(User user) { return user == User::kOrdinary && is_root() ? kNobody : static_cast<uid_t>(-1); }

class Generations : public ::testing::TestWithParam<std::tuple<TickerJob::Kind, User>> {
 protected:
  void SetUp() override {
    if (user() == User::kOrdinary && !is_root()) GTEST_SKIP() << "the tests run as an ordinary user already";
  }
  TickerJob::Kind kind() const { return std::get<0>(GetParam()); }
  User user() const { return std::get<1>(GetParam()); }

  OrphanWatch orphans_;
};

TEST_P(Generations, ThreeDeep) {
  TickerJob job(kind(), uid_of(user()));
  job.start();
  pid_t pid = job.program().pid();
  for (int generation = 1; generation <= kGenerations; ++generation) {
    const Outcome checkpoint = job.checkpoint(pid);
    ASSERT_EQ(checkpoint.exit_code, 0) << "generation " << generation << ": " << checkpoint.output;
    EXPECT_THAT(checkpoint.output, HasSubstr(job.image(generation)));
    ASSERT_TRUE(job.ticks_go_on()) << "generation " << generation << " stands still after its checkpoint";
    if (generation == 1) {
      job.kill_program();
    } else {
      EXPECT_EQ(job.kill_restored(pid), 128 + SIGKILL);
    }
    pid = job.restart();
    ASSERT_GT(pid, 0) << "generation " << generation << ": " << job.said();
    ASSERT_TRUE(job.ticks_go_on()) << job.said();
  }
  EXPECT_EQ(job.finish(job.restarter()), 0) << job.said();
  EXPECT_TRUE(job.output_is_whole()) << job.output();
  EXPECT_THAT(orphans_.left_over(), IsEmpty());
}

TEST_P(Generations, FromAnotherWorkingDirectory) {
  TickerJob job(kind(), uid_of(user()));
  job.start();
  const Outcome checkpoint = job.checkpoint(job.program().pid());
  ASSERT_EQ(checkpoint.exit_code, 0) << checkpoint.output;
  job.kill_program();
  const pid_t pid = job.restart({}, "", "/");
  ASSERT_GT(pid, 0) << job.said();
  EXPECT_EQ(job.finish(job.restarter()), 0) << job.said();
  EXPECT_TRUE(job.output_is_whole()) << job.output();
  EXPECT_THAT(orphans_.left_over(), IsEmpty());
}

TEST_P(Generations, WhileTheOriginalHasThePid) {
  TickerJob job(kind(), uid_of(user()));
  job.start();
  const Outcome checkpoint = job.checkpoint(job.program().pid());
  ASSERT_EQ(checkpoint.exit_code, 0) << checkpoint.output;
  // Both have one output: the first must not write while the second does.
  job.program().signal(SIGSTOP);
  const pid_t pid = job.restart({"--beside"});
  ASSERT_GT(pid, 0) << job.said();
  EXPECT_NE(pid, job.program().pid());
  EXPECT_THAT(job.said(), HasSubstr("in a pid namespace of its own"));
  ASSERT_TRUE(job.ticks_go_on()) << job.said();
  job.kill_program();
  EXPECT_EQ(job.finish(job.restarter(), "9"), 9) << job.said();
  EXPECT_TRUE(job.output_is_whole()) << job.output();
  EXPECT_THAT(orphans_.left_over(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Programs, Generations,
                         ::testing::Combine(::testing::Values(TickerJob::Kind::kPlain, TickerJob::Kind::kSdk),
                                            ::testing::Values(User::kTester, User::kOrdinary)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param) == TickerJob::Kind::kSdk ? "Sdk" : "Plain") +
                                  (std::get<1>(instance.param) == User::kOrdinary ? "OrdinaryUser" : "Tester");
                         });

// A process of somebody else that has `pid`; 0 when it cannot be made.
pid_t occupy(pid_t pid) {
  clone_args arguments = {};
  arguments.exit_signal = SIGCHLD;
  arguments.set_tid = reinterpret_cast<uintptr_t>(&pid);
  arguments.set_tid_size = 1;
  const long child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (child != 0) return static_cast<pid_t>(child);
  for (;;) ::pause();
}

TEST(GenerationsPid, TakenBySomebodyElse) {
  OrphanWatch orphans;
  TickerJob job(TickerJob::Kind::kSdk);
  job.start();
  const pid_t first = job.program().pid();
  ASSERT_EQ(job.checkpoint(first).exit_code, 0);
  job.kill_program();
  const pid_t stranger = occupy(first);
  if (stranger < 0 && errno == EPERM) GTEST_SKIP() << "clone3(set_tid) needs CAP_CHECKPOINT_RESTORE";
  ASSERT_EQ(stranger, first) << std::strerror(errno);
  const pid_t pid = job.restart();
  EXPECT_GT(pid, 0) << job.said();
  EXPECT_NE(pid, first);
  EXPECT_THAT(job.said(), HasSubstr("pid " + std::to_string(first) + " in a pid namespace of its own"));
  EXPECT_EQ(job.finish(job.restarter()), 0) << job.said();
  EXPECT_TRUE(job.output_is_whole()) << job.output();
  EXPECT_EQ(::kill(stranger, SIGKILL), 0);
  EXPECT_EQ(::waitpid(stranger, nullptr, 0), stranger);
  EXPECT_THAT(orphans.left_over(), IsEmpty());
}

}  // namespace
}  // namespace stillpoint::e2e
