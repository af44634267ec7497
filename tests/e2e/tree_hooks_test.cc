// Hooks of the members of a tree that link the SDK: one round over all of them, or none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kTimedOut = 124, kFailed = 125;

enum class As { kTester, kOrdinaryUser };
std::string name_of(const testing::TestParamInfo<As>& info) {
  return info.param == As::kTester ? "Tester" : "OrdinaryUser";
}
uid_t uid_of(As as) { return as == As::kOrdinaryUser && is_root() ? kNobody : static_cast<uid_t>(-1); }

class TreeHooks : public ::testing::TestWithParam<As> {
 protected:
  TreeHooks() : job_(uid_of(GetParam())) {}

  // Below a shell that knows nothing of checkpoints.
  void start_below_shell() {
    const std::string member = built_program("sdk_member") + " " + report();
    job_.start({"/bin/sh", "-c", member + " a & " + member + " b & wait"});
    ASSERT_TRUE(all_say({"a ready", "b ready"}));
  }
  void start_below_caller() {
    job_.start({built_program("sdk_member"), report(), "root", job_.images()});
    ASSERT_TRUE(all_say({"root ready", "first ready", "second ready"}));
  }
  void ends_well() {
    write_file(report() + ".stop", "");
    EXPECT_EQ(job_.wait(), 0) << job_.said();
    EXPECT_THAT(read_file(report()), ::testing::Not(HasSubstr("WRONG")));
  }

  std::string report() const { return job_.path("report"); }
  // What it has said since it said `after`, without its name.
  std::vector<std::string> said_by(const std::string& name, const std::string& after) const {
    std::vector<std::string> lines;
    std::istringstream text(read_file(report()));
    for (std::string line; std::getline(text, line);) {
      if (line.rfind(name + " ", 0) != 0) continue;
      lines.push_back(line.substr(name.size() + 1));
      if (lines.back() == after) lines.clear();
    }
    return lines;
  }
  bool all_say(const std::vector<std::string>& lines) const {
    return eventually([&] {
      const std::string text = "\n" + read_file(report());
      return std::all_of(lines.begin(), lines.end(),
                         [&](const std::string& line) { return text.find("\n" + line + "\n") != std::string::npos; });
    });
  }
  bool image_was_made() const { return !read_file(job_.images() + "/latest/manifest.pb").empty(); }

  ProgramJob job_;
};

TEST_P(TreeHooks, RunInEveryMember) {
  ASSERT_NO_FATAL_FAILURE(start_below_shell());
  const Outcome outcome = job_.checkpoint();
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  ASSERT_TRUE(all_say({"a checkpointed, scratch kept", "b checkpointed, scratch kept"})) << read_file(report());
  for (const char* name : {"a", "b"}) {
    EXPECT_THAT(said_by(name, "ready"), ElementsAre("pre-dump", "post-resume", "checkpointed, scratch kept"));
  }
  for (int life = 1; life <= 2; ++life) {
    ASSERT_THAT(job_.round(), IsEmpty());
    const auto lives = [&](const char* name) {
      const std::vector<std::string> said = said_by(name, "post-restore");
      return said.empty() ? "" : said.back();
    };
    ASSERT_TRUE(eventually([&] {
      return lives("a") == "restored, scratch zero" && lives("b") == "restored, scratch zero";
    })) << read_file(report());
  }
  ends_well();
}

TEST_P(TreeHooks, AreTakenBackWhenOneFails) {
  ASSERT_NO_FATAL_FAILURE(start_below_shell());
  write_file(report() + ".fail.b", "");
  const Outcome outcome = job_.checkpoint();
  EXPECT_EQ(outcome.exit_code, kFailed);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("pid "), HasSubstr("pre-dump hook 'release' failed")));
  EXPECT_FALSE(image_was_made());
  ASSERT_TRUE(eventually([&] { return said_by("a", "ready").size() == 3 || said_by("a", "ready").empty(); }));
  if (const auto said = said_by("a", "ready"); !said.empty()) {
    EXPECT_THAT(said, ElementsAre("pre-dump", "post-resume", HasSubstr("error: ")));
  }
  EXPECT_THAT(said_by("b", "ready"), Contains(HasSubstr("error: pre-dump hook 'release' failed")));
  ::unlink((report() + ".fail.b").c_str());
  ASSERT_THAT(job_.round(), IsEmpty());
  ASSERT_TRUE(all_say({"a post-restore", "b post-restore"}));
  ends_well();
}

TEST_P(TreeHooks, AreTakenBackWhenOneMemberMakesNoCall) {
  ASSERT_NO_FATAL_FAILURE(start_below_shell());
  write_file(report() + ".deaf.b", "");
  ::usleep(50000);
  const Outcome outcome = job_.checkpoint({"--wait", "1s"});
  EXPECT_EQ(outcome.exit_code, kTimedOut);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("reached no checkpoint() or poll()"), HasSubstr("--no-hooks")));
  EXPECT_FALSE(image_was_made());
  ASSERT_TRUE(eventually([&] { return said_by("a", "ready").size() == 3; })) << read_file(report());
  EXPECT_THAT(said_by("a", "ready"), ElementsAre("pre-dump", "post-resume", HasSubstr("error: ")));

  const Outcome without = job_.checkpoint({"--no-hooks"});
  EXPECT_EQ(without.exit_code, 0) << without.output;
  ASSERT_EQ(job_.kill(), 128 + SIGKILL);
  ::unlink((report() + ".deaf.b").c_str());
  ASSERT_TRUE(job_.restart()) << job_.said();
  EXPECT_EQ(said_by("a", "ready").size(), 3u) << "a hook has run";
  ends_well();
}

TEST_P(TreeHooks, RunWhenTheRootTakesACheckpoint) {
  ASSERT_NO_FATAL_FAILURE(start_below_caller());
  write_file(report() + ".go", "");
  ASSERT_TRUE(all_say({"root checkpointed", "first checkpointed, scratch kept", "second checkpointed, scratch kept"}))
      << read_file(report());
  ASSERT_EQ(job_.kill(), 128 + SIGKILL);
  ASSERT_TRUE(job_.restart()) << job_.said();
  ASSERT_TRUE(all_say({"root restored", "first restored, scratch zero", "second restored, scratch zero"}))
      << read_file(report());
  for (const char* name : {"root", "first", "second"}) {
    EXPECT_THAT(said_by(name, "ready"), Contains("post-restore")) << name;
  }
  ends_well();
}

TEST_P(TreeHooks, AreTakenBackWhenTheHelperDies) {
  ASSERT_NO_FATAL_FAILURE(start_below_shell());
  for (const char* stage : {"frozen", "remote-call-entered", "before-resume", "before-publish"}) {
    const Outcome outcome = job_.checkpoint({}, {{"STILLPOINT_DIE_AT", stage}});
    EXPECT_EQ(outcome.exit_code, kFailed) << stage;
    EXPECT_FALSE(image_was_made()) << stage;
    for (const char* name : {"a", "b"}) {
      ASSERT_TRUE(eventually([&] {
        const std::vector<std::string> said = said_by(name, "post-resume");
        return said_by(name, "pre-dump").size() == 2 && said.size() == 1 &&
               said[0].find("has gone") != std::string::npos;
      })) << stage
          << ": " << read_file(report());
    }
  }
  ASSERT_THAT(job_.round(), IsEmpty());
  ASSERT_TRUE(all_say({"a post-restore", "b post-restore"}));
  ends_well();
}

TEST_P(TreeHooks, OfAMemberThatIsLeftOutDoNotRun) {
  const std::string member = built_program("sdk_member") + " " + report();
  job_.start({"/bin/sh", "-c", member + " b & echo $! >" + report() + ".pid; " + member + " a; exit $?"});
  ASSERT_TRUE(all_say({"a ready", "b ready"}));
  const std::string left_out = std::to_string(std::stoi(read_file(report() + ".pid")));
  const Outcome stranger = job_.checkpoint({"--leave-out", std::to_string(::getpid())});
  EXPECT_EQ(stranger.exit_code, kFailed);
  EXPECT_THAT(stranger.output, HasSubstr("cannot be left out"));
  const Outcome outcome = job_.checkpoint({"--leave-out", left_out});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(said_by("b", "ready"), IsEmpty());
  ASSERT_EQ(job_.kill(), 128 + SIGKILL);
  ASSERT_TRUE(job_.restart()) << job_.said();
  ASSERT_TRUE(all_say({"a post-restore"}));
  EXPECT_EQ(family_of(job_.pid()).size(), 2u);
  ends_well();
  EXPECT_THAT(said_by("b", "ready"), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(As, TreeHooks, ::testing::Values(As::kTester, As::kOrdinaryUser), name_of);

}  // namespace
}  // namespace stillpoint::e2e
