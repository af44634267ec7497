// An older life of a program that still computes, on a node that was thought dead: it may go on, but not publish.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Lives : public ::testing::TestWithParam<TickerJob::Kind> {
 protected:
  Outcome checkpoint(pid_t pid) { return job_.checkpoint(pid); }

  OrphanWatch orphans_;
  TickerJob job_{GetParam()};
};

TEST_P(Lives, AnOlderOneIsRefusedByName) {
  job_.start();
  const pid_t old_life = job_.program().pid();
  ASSERT_EQ(checkpoint(old_life).exit_code, 0);
  job_.program().signal(SIGSTOP);  // cut off, not dead
  const pid_t new_life = job_.restart({"--beside"});
  ASSERT_GT(new_life, 0) << job_.said();
  ASSERT_NE(new_life, old_life);

  ASSERT_EQ(::kill(new_life, SIGSTOP), 0);
  job_.program().signal(SIGCONT);
  const Outcome refused = checkpoint(old_life);
  EXPECT_EQ(refused.exit_code, 125) << refused.output;
  EXPECT_THAT(refused.output, AllOf(HasSubstr("belongs to"), HasSubstr("life 2"), HasSubstr("this process is life 1"),
                                    HasSubstr(job_.images() + "/owner")));
  if (GetParam() == TickerJob::Kind::kSdk) {
    EXPECT_THAT(job_.checkpoint_by_itself(), AllOf(HasSubstr("error"), HasSubstr("life 2")));
  }
  EXPECT_TRUE(job_.ticks_go_on()) << "the older life does not go on";
  EXPECT_FALSE(std::filesystem::exists(job_.image(2)));
  job_.program().signal(SIGSTOP);
  ASSERT_EQ(::kill(new_life, SIGCONT), 0);

  const Outcome published = checkpoint(new_life);
  EXPECT_EQ(published.exit_code, 0) << published.output;
  EXPECT_THAT(published.output, HasSubstr(job_.image(2)));
  EXPECT_EQ(job_.kill_restored(new_life), 128 + SIGKILL);
  job_.program().signal(SIGCONT);
  EXPECT_EQ(checkpoint(old_life).exit_code, 125) << "the newest life has ended, but it was the newest";
  job_.kill_program();

  const pid_t third = job_.restart({"--beside"});
  ASSERT_GT(third, 0) << job_.said();
  EXPECT_THAT(job_.said(), HasSubstr("from " + job_.image(2)));
  EXPECT_EQ(checkpoint(third).exit_code, 0);
  EXPECT_EQ(job_.finish(job_.restarter(), "3"), 3) << job_.said();
  EXPECT_THAT(orphans_.left_over(), IsEmpty());
}

TEST_P(Lives, WithoutOwnerTheOlderOneMayPublishAgain) {
  job_.start();
  ASSERT_EQ(checkpoint(job_.program().pid()).exit_code, 0);
  const pid_t new_life = job_.restart({"--beside"});
  ASSERT_GT(new_life, 0) << job_.said();
  EXPECT_EQ(job_.kill_restored(new_life), 128 + SIGKILL);
  EXPECT_EQ(checkpoint(job_.program().pid()).exit_code, 125);
  ASSERT_TRUE(std::filesystem::remove(job_.images() + "/owner"));  // the remedy of the message
  const Outcome published = checkpoint(job_.program().pid());
  EXPECT_EQ(published.exit_code, 0) << published.output;
  EXPECT_EQ(job_.finish(job_.program()), 0);
}

TEST_P(Lives, ARestartThatFailsTakesNothingAway) {
  job_.start();
  ASSERT_EQ(checkpoint(job_.program().pid()).exit_code, 0);
  const Outcome failed = job_.stillpoint({"restart", "--map-path", job_.path("output") + "=/absent", job_.images()});
  EXPECT_EQ(failed.exit_code, 125) << failed.output;
  const Outcome published = checkpoint(job_.program().pid());
  EXPECT_EQ(published.exit_code, 0) << published.output;
  EXPECT_EQ(job_.finish(job_.program()), 0);
  EXPECT_TRUE(job_.output_is_whole());
}

TEST_P(Lives, StartedByHandInTheSameDirectory) {
  job_.start();
  ASSERT_EQ(checkpoint(job_.program().pid()).exit_code, 0);
  StartOptions options;
  options.output = job_.path("other output");
  RunningProgram other(job_.command_line(), options);
  ASSERT_TRUE(eventually([&] { return file_contains(job_.path("other output"), "tick 3"); }));
  const Outcome refused = checkpoint(other.pid());
  EXPECT_EQ(refused.exit_code, 125) << refused.output;
  EXPECT_THAT(refused.output, AllOf(HasSubstr("pid " + std::to_string(job_.program().pid())), HasSubstr("still runs")));
  EXPECT_EQ(checkpoint(job_.program().pid()).exit_code, 0);
  job_.kill_program();
  const Outcome published = checkpoint(other.pid());
  EXPECT_EQ(published.exit_code, 0) << published.output;
  EXPECT_THAT(published.output, HasSubstr(job_.image(3)));
}

INSTANTIATE_TEST_SUITE_P(Programs, Lives, ::testing::Values(TickerJob::Kind::kPlain, TickerJob::Kind::kSdk),
                         [](const auto& instance) {
                           return instance.param == TickerJob::Kind::kSdk ? std::string("Sdk") : std::string("Plain");
                         });

class Jobs : public ::testing::Test {
 protected:
  Outcome run_job(const std::string& script, std::map<std::string, std::string> environment,
                  const std::vector<std::string>& more = {}) {
    std::vector<std::string> line = {stillpoint_command(), "run", "--dir", directory_ / "ckpt"};
    line.insert(line.end(), more.begin(), more.end());
    line.insert(line.end(), {"--", "/bin/sh", "-c", script});
    StartOptions options;
    options.environment = std::move(environment);
    return run(line, options);
  }
  TemporaryDirectory directory_;
};

TEST_F(Jobs, TasksOfAnArrayDoNotShareADirectory) {
  EXPECT_EQ(run_job("exit 4", {{"SLURM_ARRAY_JOB_ID", "7"}, {"SLURM_ARRAY_TASK_ID", "1"}}).exit_code, 4);
  const Outcome refused = run_job("exit 5", {{"SLURM_ARRAY_JOB_ID", "7"}, {"SLURM_ARRAY_TASK_ID", "2"}});
  EXPECT_EQ(refused.exit_code, 125) << refused.output;
  EXPECT_THAT(refused.output, AllOf(HasSubstr("job 7[1]"), HasSubstr("job 7[2]"), HasSubstr("--take-over")));
  EXPECT_EQ(run_job("exit 5", {{"SLURM_ARRAY_JOB_ID", "7"}, {"SLURM_ARRAY_TASK_ID", "2"}}, {"--take-over"}).exit_code,
            5);
}

TEST_F(Jobs, OneMayGoOnWhereAnotherHasEnded) {
  EXPECT_EQ(run_job("exit 4", {{"SLURM_JOB_ID", "7"}}).exit_code, 4);
  EXPECT_EQ(run_job("exit 5", {{"SLURM_JOB_ID", "8"}}).exit_code, 5);
  EXPECT_EQ(run_job("exit 6", {}, {"--job-id", "mine"}).exit_code, 6);
  EXPECT_TRUE(file_contains(directory_ / "ckpt/owner", "\tmine\t"));
}

}  // namespace
}  // namespace stillpoint::e2e
