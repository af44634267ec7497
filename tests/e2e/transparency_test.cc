// What a program can see of a checkpoint: nothing. It watches itself (programs/parts/onlooker.h) while checkpoints
// succeed, are refused and fail; as an ordinary process, a child subreaper, and pid 1 of a pid namespace.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "tests/e2e/support/program_job.h"
#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

enum class User { kTester, kOrdinary };

class Transparency : public ::testing::TestWithParam<User> {
 protected:
  void SetUp() override {
    if (GetParam() == User::kOrdinary && !is_root()) GTEST_SKIP() << "the tests run as an ordinary user already";
  }
  Transparency() : job_(GetParam() == User::kOrdinary && is_root() ? kNobody : static_cast<uid_t>(-1)) {}

  std::string report() const { return read_file(job_.path("report")); }
  size_t count(const std::string& word) const {
    size_t found = 0;
    const std::string text = report();
    for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
    return found;
  }
  void start(const std::string& program, std::map<std::string, std::string> environment = {},
             const std::vector<std::string>& under = {}) {
    std::vector<std::string> command = under;
    command.push_back(built_program(program));
    command.push_back(job_.path("report"));
    if (program == "sdk_onlooker") command.push_back(job_.images());
    StartOptions options;
    options.environment = std::move(environment);
    job_.start(command, options);
  }
  bool moves_on(size_t ticks = 4) {
    const size_t goal = count("tick ") + ticks;
    return eventually([&] { return count("tick ") >= goal || !job_.running(); }) && job_.running();
  }
  std::string complaints() const {
    std::string found;
    std::istringstream lines(report());
    for (std::string line; std::getline(lines, line);) {
      if (line.find("ERROR") != std::string::npos || line.find("CHANGED") != std::string::npos) found += line + "\n";
    }
    return found;
  }
  void sees_nothing_of_checkpoints(int number) {
    ASSERT_TRUE(moves_on(6)) << report();
    for (int i = 0; i < number; ++i) {
      const Outcome outcome = job_.checkpoint({"--keep", "1"});
      ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    }
    EXPECT_TRUE(moves_on()) << report();
    EXPECT_THAT(complaints(), IsEmpty());
  }
  void sees_nothing_of_its_own(size_t number) {
    EXPECT_TRUE(eventually([&] { return count("checkpointed") >= number || count("refused") > 0 || !job_.running(); }));
    EXPECT_TRUE(moves_on()) << report();
    EXPECT_THAT(report(), Not(HasSubstr("refused")));
    EXPECT_THAT(complaints(), IsEmpty());
  }

  ProgramJob job_;
};

TEST_P(Transparency, Checkpoints) {
  start("onlooker");
  sees_nothing_of_checkpoints(rounds(30));
}

TEST_P(Transparency, CheckpointsOfASubreaper) {
  start("onlooker", {{"SUBREAPER", "1"}});
  sees_nothing_of_checkpoints(rounds(10));
}

TEST_P(Transparency, CheckpointsByTheSdk) {
  start("sdk_onlooker");
  sees_nothing_of_its_own(static_cast<size_t>(rounds(30)));
}

TEST_P(Transparency, CheckpointsByTheSdkInASubreaper) {
  start("sdk_onlooker", {{"SUBREAPER", "1"}});
  sees_nothing_of_its_own(static_cast<size_t>(rounds(10)));
}

TEST_P(Transparency, NewLives) {
  start("onlooker");
  ASSERT_TRUE(moves_on(6)) << report();
  for (int life = 1; life <= 2; ++life) {
    ASSERT_THAT(job_.round(), IsEmpty()) << "life " << life;
    ASSERT_TRUE(moves_on()) << job_.said();
  }
  EXPECT_THAT(complaints(), IsEmpty());
}

TEST_P(Transparency, RefusedCheckpoints) {
  start("onlooker", {{"REMOVED_DIRECTORY", job_.path("removed")}});
  ASSERT_TRUE(moves_on(6)) << report();
  for (int i = 0; i < rounds(10); ++i) {
    const Outcome outcome = job_.checkpoint();
    ASSERT_NE(outcome.exit_code, 0);
    ASSERT_THAT(outcome.output, HasSubstr("SP-DIRECTORY-DELETED"));
  }
  EXPECT_TRUE(moves_on());
  EXPECT_THAT(complaints(), IsEmpty());
}

TEST_P(Transparency, RefusedCheckpointsByTheSdk) {
  start("sdk_onlooker", {{"REMOVED_DIRECTORY", job_.path("removed")}});
  EXPECT_TRUE(eventually([&] { return count("refused") >= 10 || !job_.running(); })) << report();
  EXPECT_TRUE(moves_on());
  EXPECT_THAT(report(), Not(HasSubstr("checkpointed")));
  EXPECT_THAT(complaints(), IsEmpty());
}

TEST_P(Transparency, CheckpointsWithoutRoom) {
  if (!is_root()) GTEST_SKIP() << "only root can mount a small filesystem";
  ASSERT_EQ(::mkdir(job_.images().c_str(), 0777), 0);
  ASSERT_EQ(::mount("small", job_.images().c_str(), "tmpfs", 0, "size=256k,mode=777"), 0);
  start("onlooker");
  EXPECT_TRUE(moves_on(6)) << report();
  for (int i = 0; i < rounds(10); ++i) {
    const Outcome outcome = job_.checkpoint();
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_THAT(outcome.output, HasSubstr("ENOSPC"));
  }
  EXPECT_TRUE(moves_on());
  EXPECT_THAT(complaints(), IsEmpty());
  EXPECT_EQ(::umount2(job_.images().c_str(), MNT_DETACH), 0);
}

// As pid 1 of a pid namespace every orphan would be its child.
class TransparencyOfInit : public Transparency {
 protected:
  std::vector<std::string> init() const {
    if (GetParam() == User::kTester && is_root()) return {"unshare", "--pid", "--fork", "--mount-proc", "--kill-child"};
    return {"unshare", "--user", "--map-current-user", "--pid", "--fork", "--mount-proc", "--kill-child"};
  }
  void SetUp() override {
    Transparency::SetUp();
    if (IsSkipped()) return;
    std::vector<std::string> probe = init();
    probe.push_back("true");
    StartOptions options;
    if (GetParam() == User::kOrdinary && is_root()) options.uid = kNobody;
    const Outcome outcome = run(probe, options);
    if (outcome.exit_code != 0) GTEST_SKIP() << "no namespaces here: " << outcome.output;
  }
};

TEST_P(TransparencyOfInit, CheckpointsByTheSdk) {
  start("sdk_onlooker", {}, init());
  sees_nothing_of_its_own(static_cast<size_t>(rounds(10)));
}

// From outside it is refused, or done; nothing of it is seen either way.
TEST_P(TransparencyOfInit, CheckpointsFromOutside) {
  start("onlooker", {}, init());
  ASSERT_TRUE(moves_on(6)) << report();
  const std::vector<pid_t> found = processes_naming(std::string("onlooker") + '\0' + job_.path("report"));
  ASSERT_FALSE(found.empty());
  const pid_t pid = *std::max_element(found.begin(), found.end());  // below unshare
  for (int i = 0; i < rounds(10); ++i) {
    StartOptions options;
    if (GetParam() == User::kOrdinary && is_root()) options.uid = kNobody;
    const Outcome outcome =
        run({stillpoint_command(), "checkpoint", "--pid", std::to_string(pid), job_.images()}, options);
    ASSERT_TRUE(outcome.exit_code == 0 || outcome.output.find("SP-NAMESPACE") != std::string::npos) << outcome.output;
  }
  EXPECT_TRUE(moves_on());
  EXPECT_THAT(complaints(), IsEmpty());
}

const auto name_of_user = [](const auto& parameter) {
  return parameter.param == User::kTester ? "Tester" : "OrdinaryUser";
};
INSTANTIATE_TEST_SUITE_P(As, Transparency, ::testing::Values(User::kTester, User::kOrdinary), name_of_user);
INSTANTIATE_TEST_SUITE_P(As, TransparencyOfInit, ::testing::Values(User::kTester, User::kOrdinary), name_of_user);

}  // namespace
}  // namespace stillpoint::e2e
