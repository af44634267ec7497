#include "helper/image/owner.h"

#include <unistd.h>

#include "gmock/gmock.h"
#include "tests/image/image_fixture.h"

namespace stillpoint::image {
namespace {

using testing::HasSubstr;

class OwnerFile : public ImageTest {};

Owner claimant(const std::string& job) { return {.host = "node\n17", .boot_id = "b007", .job_id = job}; }

TEST_F(OwnerFile, EveryLifeRaisesTheEpoch) {
  EXPECT_EQ(read_owner(job()).value(), std::nullopt);
  EXPECT_TRUE(check_owner(job(), 0).ok());
  EXPECT_EQ(claim_owner(job(), claimant("17")).value().epoch, 1u);
  EXPECT_EQ(claim_owner(job(), claimant("17")).value().epoch, 2u);
  const absl::StatusOr<std::optional<Owner>> owner = read_owner(job());
  ASSERT_TRUE(owner.ok() && owner->has_value());
  EXPECT_EQ((*owner)->host, "node\n17");
  EXPECT_EQ((*owner)->boot_id, "b007");
  EXPECT_EQ((*owner)->job_id, "17");
  EXPECT_EQ((*owner)->epoch, 2u);
  EXPECT_TRUE(check_owner(job(), 2).ok());
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(OwnerFile, AnOlderLifeMayNotPublish) {
  const JobDirectory directory = job();
  const uint64_t old_life = claim_owner(directory, claimant("17")).value().epoch;
  absl::StatusOr<ImageWriter> writer = ImageWriter::create(directory);
  ASSERT_TRUE(fill_sample(*writer, 100).ok());
  const uint64_t new_life = claim_owner(directory, claimant("17")).value().epoch;
  const absl::Status refused = writer->publish({}, [&] { return check_owner(directory, old_life); }).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("job 17"));
  EXPECT_TRUE(directory.sequences().value().empty());
  absl::StatusOr<ImageWriter> next = ImageWriter::create(directory);
  ASSERT_TRUE(fill_sample(*next, 100).ok());
  EXPECT_TRUE(next->publish({}, [&] { return check_owner(directory, new_life); }).ok());
}

TEST_F(OwnerFile, AnotherJobIsRefusedUnlessItTakesOver) {
  ASSERT_TRUE(claim_owner(job(), claimant("17")).ok());
  const absl::Status refused = claim_owner(job(), claimant("18")).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("belongs to job 17"));
  EXPECT_EQ(claim_owner(job(), claimant("")).value().epoch, 2u);
  ASSERT_TRUE(claim_owner(job(), claimant("17")).ok());
  EXPECT_EQ(claim_owner(job(), claimant("18"), true).value().epoch, 4u);
}

TEST_F(OwnerFile, EveryDamagedByteIsSeen) {
  ASSERT_TRUE(claim_owner(job(), claimant("17")).ok());
  const size_t size = read_file_at(path("owner")).size();
  for (size_t offset = 0; offset < size; ++offset) {
    flip_byte(path("owner"), offset);
    EXPECT_TRUE(absl::IsDataLoss(read_owner(job()).status())) << offset;
    EXPECT_FALSE(check_owner(job(), 1).ok());
    EXPECT_FALSE(claim_owner(job(), claimant("17")).ok());
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
        if (!claim_owner(job(), claimant("17")).ok()) return 1;
      }
      return 0;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(read_owner(job()).value()->epoch, 30u);
}

}  // namespace
}  // namespace stillpoint::image
