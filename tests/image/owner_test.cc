#include "helper/image/owner.h"

#include <unistd.h>

#include <map>
#include <set>

#include "gmock/gmock.h"
#include "helper/image/owner_file.h"
#include "tests/image/image_fixture.h"

namespace stillpoint::image {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class OwnerFile : public ImageTest {
 protected:
  ProcessQuestions questions() {
    return {[](const LifeProcess& a, const LifeProcess& b) { return a.pid == b.pid && a.start_ms == b.start_ms; },
            [this](const LifeProcess& process) { return running_.contains(process.pid); }};
  }
  absl::StatusOr<Life> claim(const Life& life, bool take_over = false) {
    return claim_owner(job(), life, questions(), take_over);
  }
  absl::StatusOr<Life> admit(const Publisher& publisher) { return admit_publisher(job(), publisher, questions()); }

  std::set<int32_t> running_;
};

Life claimant(const std::string& id, const std::string& task = "", const std::string& host = "node\t17\n") {
  Life life;
  life.host = host;
  life.boot_id = "boot of " + host;
  life.job = {id, task};
  life.supervised = true;
  return life;
}

Publisher publisher(int32_t pid, const std::string& id = "17", const std::string& host = "node\t17\n") {
  return {host, "boot of " + host, {id, ""}, {{pid, 1000 + pid}}};
}

std::string refusal(const absl::Status& status) {
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  return std::string(status.message());
}

TEST_F(OwnerFile, EveryClaimBeginsALife) {
  EXPECT_FALSE(read_owner(job()).value().has_value());
  EXPECT_EQ(claim(claimant("17")).value().epoch, 1u);
  ASSERT_TRUE(settle_claim(job(), 1, {500, 1500}).ok());
  EXPECT_EQ(claim(claimant("17")).value().epoch, 2u);
  const absl::StatusOr<std::optional<Owner>> owner = read_owner(job());
  ASSERT_TRUE(owner.ok() && owner->has_value());
  ASSERT_EQ((*owner)->lives.size(), 2u);
  EXPECT_EQ((*owner)->lives[0].host, "node\t17\n");
  EXPECT_EQ((*owner)->lives[0].boot_id, "boot of node\t17\n");
  EXPECT_EQ((*owner)->lives[0].job.id, "17");
  EXPECT_EQ((*owner)->lives[0].process.pid, 500);
  EXPECT_EQ((*owner)->lives[0].process.start_ms, 1500);
  EXPECT_EQ((*owner)->newest().epoch, 2u);
  EXPECT_EQ((*owner)->newest().process.pid, 0);
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(OwnerFile, AProgramThatNobodyStartedForUsBeginsALifeWithItsFirstImage) {
  EXPECT_EQ(may_publish(job(), publisher(500), questions()).value().epoch, 1u);
  EXPECT_FALSE(read_owner(job()).value().has_value()) << "looking has written something";
  EXPECT_EQ(admit(publisher(500)).value().epoch, 1u);
  EXPECT_EQ(admit(publisher(500)).value().epoch, 1u);
  EXPECT_EQ(read_owner(job()).value()->lives.size(), 1u);
  // It has ended, and was started once more by hand.
  EXPECT_EQ(admit(publisher(501)).value().epoch, 2u);
  EXPECT_THAT(refusal(admit(publisher(500)).status()), AllOf(HasSubstr("life 1"), HasSubstr("life 2, pid 501")));
}

TEST_F(OwnerFile, AnotherProgramThatStillRunsIsNotDrivenOut) {
  running_ = {500, 501};
  ASSERT_TRUE(admit(publisher(500)).ok());
  EXPECT_THAT(refusal(admit(publisher(501)).status()), AllOf(HasSubstr("pid 500"), HasSubstr("still runs")));
  EXPECT_TRUE(admit(publisher(500)).ok());
  running_ = {501};
  EXPECT_EQ(admit(publisher(501)).value().epoch, 2u);
}

TEST_F(OwnerFile, AChildPublishesForItsParent) {
  running_ = {500, 501};
  ASSERT_TRUE(admit(publisher(500)).ok());
  Publisher child = publisher(501);
  child.lineage.push_back({500, 1500});
  EXPECT_EQ(admit(child).value().epoch, 1u);
  ASSERT_TRUE(claim(claimant("17")).ok());
  EXPECT_THAT(refusal(admit(child).status()), HasSubstr("life 1"));
}

TEST_F(OwnerFile, AnOlderLifeMayNotPublish) {
  const JobDirectory directory = job();
  running_ = {500, 501};
  ASSERT_TRUE(admit(publisher(500)).ok());
  absl::StatusOr<ImageWriter> writer = ImageWriter::create(directory);
  ASSERT_TRUE(fill_sample(*writer, 100).ok());
  EXPECT_EQ(claim(claimant("17", "", "node18")).value().epoch, 2u);
  const absl::Status refused = writer->publish({}, [&] { return admit(publisher(500)).status(); }).status();
  EXPECT_THAT(refusal(refused), AllOf(HasSubstr("job 17 on host node18 (life 2)"), HasSubstr("may not publish")));
  EXPECT_TRUE(directory.sequences().value().empty());
  // The claimed life's process comes before it is entered: the place is kept for it.
  absl::StatusOr<ImageWriter> next = ImageWriter::create(directory);
  ASSERT_TRUE(fill_sample(*next, 100).ok());
  EXPECT_TRUE(next->publish({}, [&] { return admit(publisher(501, "", "node18")).status(); }).ok());
  EXPECT_EQ(read_owner(directory).value()->newest().process.pid, 501);
  ASSERT_TRUE(settle_claim(directory, 2, {502, 1502}).ok());
  EXPECT_EQ(read_owner(directory).value()->newest().process.pid, 501);
  EXPECT_THAT(refusal(admit(publisher(500)).status()), HasSubstr("life 2, pid 501"));
}

TEST_F(OwnerFile, AClaimThatCameToNothingIsForgotten) {
  running_ = {500};
  ASSERT_TRUE(claim(claimant("17")).ok());
  ASSERT_TRUE(withdraw_claim(job(), 1).ok());
  EXPECT_FALSE(read_owner(job()).value().has_value());
  ASSERT_TRUE(admit(publisher(500)).ok());
  ASSERT_TRUE(claim(claimant("17")).ok());
  EXPECT_FALSE(admit(publisher(500)).ok());
  ASSERT_TRUE(withdraw_claim(job(), 2).ok());
  EXPECT_TRUE(admit(publisher(500)).ok());
  ASSERT_TRUE(withdraw_claim(job(), 1).ok());
  EXPECT_TRUE(read_owner(job()).value().has_value()) << "a life that has a process was withdrawn";
}

TEST_F(OwnerFile, AnotherJobIsRefusedUntilTheFirstHasEnded) {
  ASSERT_TRUE(claim(claimant("17")).ok());
  ASSERT_TRUE(settle_claim(job(), 1, {500, 1500}).ok());
  EXPECT_THAT(refusal(claim(claimant("18", "", "node18")).status()),
              AllOf(HasSubstr("belongs to job 17"), HasSubstr("--take-over")));
  EXPECT_FALSE(admit(publisher(501, "18", "node18")).ok());
  EXPECT_EQ(claim(claimant("18", "", "node18"), true).value().epoch, 2u);
  ASSERT_TRUE(note_end(job(), 1).ok());  // of an older life: nobody's business any more
  EXPECT_FALSE(claim(claimant("19")).ok());
  ASSERT_TRUE(note_end(job(), 2).ok());
  EXPECT_EQ(claim(claimant("19")).value().epoch, 3u);
  EXPECT_EQ(claim(claimant("")).value().epoch, 4u);  // somebody who restarts it by hand
}

TEST_F(OwnerFile, WhatIsKnownToHaveEndedCountsAsEnded) {
  running_ = {500};
  ASSERT_TRUE(claim(claimant("17")).ok());
  ASSERT_TRUE(settle_claim(job(), 1, {500, 1500}).ok());
  EXPECT_FALSE(claim(claimant("18")).ok());
  running_ = {};
  EXPECT_EQ(claim(claimant("18")).value().epoch, 2u);
  Life rebooted = claimant("19");
  rebooted.boot_id = "a later boot";
  EXPECT_EQ(claim(rebooted).value().epoch, 3u);
}

TEST_F(OwnerFile, TasksOfAnArrayNeverShareADirectory) {
  ASSERT_TRUE(claim(claimant("17", "1")).ok());
  ASSERT_TRUE(note_end(job(), 1).ok());
  EXPECT_THAT(refusal(claim(claimant("17", "2")).status()), AllOf(HasSubstr("job 17[1]"), HasSubstr("job 17[2]")));
  EXPECT_THAT(refusal(claim(claimant("18", "2")).status()), HasSubstr("job 17[1]"));
  EXPECT_EQ(claim(claimant("18", "1")).value().epoch, 2u);  // the array once more
  ASSERT_TRUE(note_end(job(), 2).ok());
  EXPECT_EQ(claim(claimant("18", "2"), true).value().epoch, 3u);
}

TEST_F(OwnerFile, RemembersOnlySoManyLives) {
  for (size_t i = 0; i < kLivesRemembered + 3; ++i) ASSERT_TRUE(claim(claimant("17")).ok());
  EXPECT_EQ(read_owner(job()).value()->lives.size(), kLivesRemembered);
  EXPECT_EQ(read_owner(job()).value()->newest().epoch, kLivesRemembered + 3);
}

TEST_F(OwnerFile, EveryDamagedByteIsSeen) {
  ASSERT_TRUE(claim(claimant("17")).ok());
  const size_t size = read_file_at(path("owner")).size();
  for (size_t offset = 0; offset < size; ++offset) {
    flip_byte(path("owner"), offset);
    EXPECT_TRUE(absl::IsDataLoss(read_owner(job()).status())) << offset;
    EXPECT_FALSE(admit(publisher(500)).ok());
    EXPECT_FALSE(claim(claimant("17")).ok());
    flip_byte(path("owner"), offset);
  }
  ASSERT_EQ(::truncate(path("owner").c_str(), 0), 0);
  EXPECT_THAT(std::string(read_owner(job()).status().message()), HasSubstr("owner is damaged"));
}

TEST_F(OwnerFile, ConcurrentClaimsGetDifferentEpochs) {
  job();
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    children.push_back(fork_child([&] {
      for (int n = 0; n < 5; ++n) {
        if (!claim(claimant("17")).ok()) return 1;
      }
      return 0;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(read_owner(job()).value()->newest().epoch, 30u);
}

TEST(JobNames, AreThoseOfTheBatchSystem) {
  const auto named = [](const std::map<std::string, std::string>& environment) {
    return text_of(job_name([&](const char* name) {
      const auto found = environment.find(name);
      return found == environment.end() ? std::string() : found->second;
    }));
  };
  EXPECT_EQ(named({}), "");
  EXPECT_EQ(named({{"SLURM_JOB_ID", "7"}}), "7");
  EXPECT_EQ(named({{"SLURM_JOB_ID", "9"}, {"SLURM_ARRAY_JOB_ID", "7"}, {"SLURM_ARRAY_TASK_ID", "2"}}), "7[2]");
  EXPECT_EQ(named({{"PBS_JOBID", "7.server"}}), "7.server");
  EXPECT_EQ(named({{"PBS_JOBID", "7[2].server"}, {"PBS_ARRAY_INDEX", "2"}}), "7[2].server[2]");
  EXPECT_EQ(named({{"LSB_JOBID", "7"}, {"LSB_JOBINDEX", "0"}}), "7");
  EXPECT_EQ(named({{"JOB_ID", "7"}}), "");  // anybody's variable
  EXPECT_EQ(named({{"JOB_ID", "7"}, {"SGE_TASK_ID", "undefined"}}), "7");
  EXPECT_EQ(named({{"STILLPOINT_JOB_ID", "mine"}, {"SLURM_JOB_ID", "7"}}), "mine");
}

}  // namespace
}  // namespace stillpoint::image
