// The helper dies, the disk is full, the directory is closed: the program runs on unharmed, the previous image
// restores, and the error names the cause.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>

#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

struct Stage {
  const char* name;
  bool published = false;  // the image is there all the same
};

// Of docs/testing.md. The image_store_* stages and image_prune_renamed have tests of their own below: not every dump
// gets there.
constexpr Stage kStages[] = {
    {"frozen"},
    {"remote-call-entered"},
    {"remote-call-done"},
    {"before-snapshot"},
    {"snapshot-forked"},
    {"before-resume"},
    {"writing"},
    {"worker-running"},
    {"before-publish"},
    {"image_created"},
    {"image_files_written"},
    {"image_files_synced"},
    {"image_manifest_written"},
    {"image_durable"},
    {"image_latest_prepared"},
    {"image_renamed", true},
    {"image_published", true},
    {"image_latest_renamed", true},
};

class HelperDeath : public ::testing::TestWithParam<Stage> {
 protected:
  // The job goes on to the end of its first life, and a second one from the image before comes to the same end.
  void expect_unharmed(TickerJob& job) {
    ASSERT_TRUE(job.ticks_go_on()) << "the program stands still";
    EXPECT_EQ(job.finish(job.program()), 0);
    EXPECT_TRUE(job.output_is_whole()) << job.output();
    expect_restorable(job);
  }
  void expect_restorable(TickerJob& job) {
    const Outcome verified = job.stillpoint({"verify", job.image(1)});
    EXPECT_EQ(verified.exit_code, 0) << verified.output;
    EXPECT_GT(job.restart({}, job.image(1)), 0) << job.said();
    EXPECT_EQ(job.restarter().wait(), 0) << job.said();
    EXPECT_TRUE(job.output_is_whole()) << job.output();
    EXPECT_THAT(orphans_.left_over(), IsEmpty());
  }
  void expect_next_checkpoint_works(TickerJob& job) {
    const Outcome next = job.checkpoint(job.program().pid());
    EXPECT_EQ(next.exit_code, 0) << next.output;
    for (const auto& entry : std::filesystem::directory_iterator(job.images())) {
      EXPECT_NE(entry.path().filename().string().rfind(".tmp-", 0), 0u) << entry.path() << " was left behind";
    }
  }

  OrphanWatch orphans_;
};

std::string stage_name(const ::testing::TestParamInfo<Stage>& instance) {
  std::string name = instance.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class HelperDeathWithoutSdk : public HelperDeath {};

TEST_P(HelperDeathWithoutSdk, ProgramRunsOn) {
  TickerJob job(TickerJob::Kind::kPlain);
  job.start();
  const pid_t pid = job.program().pid();
  ASSERT_EQ(job.checkpoint(pid).exit_code, 0);
  const Outcome died = job.checkpoint(pid, {{"STILLPOINT_DIE_AT", GetParam().name}});
  EXPECT_EQ(died.exit_code, 125) << died.output;
  EXPECT_THAT(died.output, HasSubstr("the helper died"));
  EXPECT_EQ(std::filesystem::exists(job.image(2)), GetParam().published);
  ASSERT_TRUE(job.ticks_go_on()) << "the program stands still";
  // No child of the program's is left, not even one that has ended: it would be a finding.
  expect_next_checkpoint_works(job);
  expect_unharmed(job);
}

INSTANTIATE_TEST_SUITE_P(Stages, HelperDeathWithoutSdk, ::testing::ValuesIn(kStages), stage_name);

class HelperDeathWithSdk : public HelperDeath {};

TEST_P(HelperDeathWithSdk, ProgramRunsOn) {
  TickerJob job(TickerJob::Kind::kSdk);
  job.start();
  ASSERT_THAT(job.checkpoint_by_itself(), StartsWith("resumed "));
  EXPECT_THAT(job.checkpoint_by_itself(GetParam().name), StartsWith("error the helper died"));
  EXPECT_EQ(std::filesystem::exists(job.image(2)), GetParam().published);
  ASSERT_TRUE(job.ticks_go_on()) << "the program stands still";
  EXPECT_THAT(job.checkpoint_by_itself(), StartsWith("resumed "));
  expect_unharmed(job);
}

INSTANTIATE_TEST_SUITE_P(Stages, HelperDeathWithSdk, ::testing::ValuesIn(kStages), stage_name);

// A first checkpoint copies executable and libraries: no image is there yet, so nothing but the program is to be lost.
TEST(HelperDeathAtFirst, WhileTheExecutableIsStored) {
  OrphanWatch orphans;
  for (const char* stage : {"image_store_copying", "image_store_copied"}) {
    SCOPED_TRACE(stage);
    TickerJob job(TickerJob::Kind::kPlain);
    job.start();
    const Outcome died = job.checkpoint(job.program().pid(), {{"STILLPOINT_DIE_AT", stage}});
    EXPECT_EQ(died.exit_code, 125) << died.output;
    EXPECT_THAT(died.output, HasSubstr("the helper died"));
    EXPECT_FALSE(std::filesystem::exists(job.image(1)));
    ASSERT_TRUE(job.ticks_go_on());
    const Outcome again = job.checkpoint(job.program().pid());
    EXPECT_EQ(again.exit_code, 0) << again.output;
    job.kill_program();
    EXPECT_GT(job.restart(), 0) << job.said();
    EXPECT_EQ(job.finish(job.restarter()), 0) << job.said();
    EXPECT_TRUE(job.output_is_whole()) << job.output();
  }
  EXPECT_THAT(orphans.left_over(), IsEmpty());
}

TEST(HelperDeathAtLast, WhileAnOldImageIsRemoved) {
  OrphanWatch orphans;
  TickerJob job(TickerJob::Kind::kPlain);
  job.start();
  const std::string pid = std::to_string(job.program().pid());
  ASSERT_EQ(job.stillpoint({"checkpoint", "--pid", pid, job.images()}).exit_code, 0);
  const Outcome died = job.stillpoint({"checkpoint", "--pid", pid, "--keep", "1", job.images()},
                                      {{"STILLPOINT_DIE_AT", "image_prune_renamed"}});
  EXPECT_EQ(died.exit_code, 125) << died.output;
  ASSERT_TRUE(job.ticks_go_on());
  job.kill_program();
  // Nothing is deleted before its successor is durable: the second image is there.
  EXPECT_GT(job.restart({}, job.image(2)), 0) << job.said();
  EXPECT_EQ(job.finish(job.restarter()), 0) << job.said();
  EXPECT_TRUE(job.output_is_whole()) << job.output();
  EXPECT_THAT(orphans.left_over(), IsEmpty());
}

class RestoreDeath : public ::testing::TestWithParam<std::tuple<const char*, bool>> {};

TEST_P(RestoreDeath, LeavesNothingBehindAndTheImageUntouched) {
  const auto [stage, own_namespace] = GetParam();
  OrphanWatch orphans;
  TickerJob job(TickerJob::Kind::kPlain);
  job.start();
  ASSERT_EQ(job.checkpoint(job.program().pid()).exit_code, 0);
  job.kill_program();
  const std::string output = job.output();

  std::vector<std::string> arguments = {"restart", job.images()};
  if (own_namespace) arguments.insert(arguments.begin() + 1, "--new-namespace");
  const Outcome died = job.stillpoint(arguments, {{"STILLPOINT_DIE_AT", stage}});
  EXPECT_EQ(died.exit_code, 125) << died.output;
  EXPECT_THAT(died.output, AnyOf(HasSubstr("died"), HasSubstr("ended")));
  EXPECT_THAT(orphans.left_over(), IsEmpty());
  EXPECT_THAT(processes_naming(job.path("finish")), IsEmpty());
  EXPECT_EQ(job.output(), output) << "an instruction of the program has run";

  EXPECT_EQ(job.stillpoint({"verify", job.images()}).exit_code, 0);
  EXPECT_GT(job.restart(), 0) << job.said();
  EXPECT_EQ(job.finish(job.restarter()), 0) << job.said();
  EXPECT_TRUE(job.output_is_whole()) << job.output();
}

INSTANTIATE_TEST_SUITE_P(Stages, RestoreDeath,
                         ::testing::Combine(::testing::Values("restore-memory", "restore-files", "restore-threads",
                                                              "restore-start"),
                                            ::testing::Bool()),
                         [](const auto& instance) {
                           std::string name = std::get<0>(instance.param);
                           name[name.find('-')] = '_';
                           return name + (std::get<1>(instance.param) ? "_in_a_namespace" : "");
                         });

}  // namespace
}  // namespace stillpoint::e2e
