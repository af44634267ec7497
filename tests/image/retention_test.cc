#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "gmock/gmock.h"
#include "helper/image/manifest_file.h"
#include "tests/image/image_fixture.h"

namespace stillpoint::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Retention : public ImageTest {
 protected:
  void publish(uint64_t first, uint64_t last) {
    for (uint64_t sequence = first; sequence <= last; ++sequence) publish_sample(job(), sequence, 100);
  }
  // An image that names a stored file with that content.
  void publish_with_stored(uint64_t sequence, const std::string& name) {
    Manifest manifest;
    absl::StatusOr<FileEntry> stored = job().store_file(name, source(name).get());
    ASSERT_TRUE(stored.ok()) << stored.status();
    *manifest.add_stored_files() = *std::move(stored);
    publish_sample(job(), sequence, 100, manifest);
  }
  void point_latest_to(uint64_t sequence) {
    ASSERT_EQ(::unlink(path("latest").c_str()), 0);
    ASSERT_EQ(::symlink(image_name(sequence).c_str(), path("latest").c_str()), 0);
  }
};

TEST_F(Retention, TheNewestStay) {
  publish(1, 5);
  ASSERT_TRUE(job().prune(3).ok());
  EXPECT_THAT(job().sequences().value(), ElementsAre(3, 4, 5));
  ASSERT_TRUE(job().prune(10).ok());
  EXPECT_THAT(job().sequences().value(), ElementsAre(3, 4, 5));
  ASSERT_TRUE(job().prune(1).ok());
  EXPECT_THAT(job().sequences().value(), ElementsAre(5));
  EXPECT_TRUE(verification(path()).ok());
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(Retention, ZeroKeepsAll) {
  publish(1, 4);
  ASSERT_TRUE(job().prune(0).ok());
  EXPECT_THAT(job().sequences().value(), ElementsAre(1, 2, 3, 4));
}

TEST_F(Retention, LatestStaysHoweverOld) {
  publish(1, 5);
  point_latest_to(2);
  ASSERT_TRUE(job().prune(1).ok());
  EXPECT_THAT(job().sequences().value(), ElementsAre(2, 5));
}

TEST_F(Retention, ParentsStayAsLongAsADeltaNeedsThem) {
  publish(1, 2);
  Manifest delta;
  delta.set_parent(image_name(2));
  publish_sample(job(), 3, 100, delta);
  delta.set_parent(image_name(3));
  publish_sample(job(), 4, 100, delta);
  ASSERT_TRUE(job().prune(1).ok());
  EXPECT_THAT(job().sequences().value(), ElementsAre(2, 3, 4));
  publish_sample(job(), 5, 100);
  ASSERT_TRUE(job().prune(1).ok());
  EXPECT_THAT(job().sequences().value(), ElementsAre(5));
}

TEST_F(Retention, DamagedImagesDoNotCount) {
  publish(1, 5);
  flip_byte(path("ckpt-00000002/manifest.pb"), 50);
  flip_byte(path("ckpt-00000004/manifest.pb"), 50);
  ASSERT_TRUE(job().prune(2).ok());
  // Two good ones, the damaged one between them, and none of the older ones.
  EXPECT_THAT(job().sequences().value(), ElementsAre(3, 4, 5));
}

TEST_F(Retention, NothingIsDeletedBesideAnImageOfALaterRelease) {
  publish(1, 4);
  write_file_at(path("ckpt-00000003/manifest.pb"), frame_payload(kFormatVersion + 1, "whatever"));
  const absl::Status status = job().prune(1);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nothing is deleted"));
  EXPECT_THAT(job().sequences().value(), ElementsAre(1, 2, 3, 4));
}

TEST_F(Retention, AnImageBeingReadStays) {
  publish(1, 3);
  {
    const absl::StatusOr<ImageReader> reader = ImageReader::open(path("ckpt-00000001"));
    ASSERT_TRUE(reader.ok());
    ASSERT_TRUE(job().prune(1).ok());
    EXPECT_THAT(job().sequences().value(), ElementsAre(1, 3));
    EXPECT_TRUE(reader->verify().empty());
  }
  ASSERT_TRUE(job().prune(1).ok());
  EXPECT_THAT(job().sequences().value(), ElementsAre(3));
}

TEST_F(Retention, StoredFilesGoWithTheLastImageThatNamesThem) {
  publish_with_stored(1, "aa01");
  publish_with_stored(2, "aa02");
  publish_with_stored(3, "aa02");
  write_file_at(path("files/README"), "the user's");
  ASSERT_TRUE(job().prune(2).ok());
  EXPECT_FALSE(std::filesystem::exists(path("files/aa01")));
  EXPECT_TRUE(std::filesystem::exists(path("files/aa02")));
  EXPECT_TRUE(std::filesystem::exists(path("files/README")));
  for (const uint64_t sequence : {2, 3}) EXPECT_EQ(all_messages(verify_image(path(image_name(sequence)))), "");
}

TEST_F(Retention, StoredFilesStayWhileACheckpointIsWritten) {
  publish_with_stored(1, "aa01");
  {
    absl::StatusOr<ImageWriter> writer = ImageWriter::create(job(), 2);
    ASSERT_TRUE(writer.ok());
    const absl::StatusOr<FileEntry> stored = job().store_file("aa02", source("x").get());
    ASSERT_TRUE(stored.ok());
    ASSERT_TRUE(job().prune(1).ok());
    EXPECT_TRUE(std::filesystem::exists(path("files/aa02")));
  }
  ASSERT_TRUE(job().prune(1).ok());
  EXPECT_FALSE(std::filesystem::exists(path("files/aa02")));
  EXPECT_TRUE(verification(path()).ok());
}

TEST_F(Retention, AnEmptyDirectoryIsFine) { EXPECT_TRUE(job().prune(3).ok()); }

}  // namespace
}  // namespace stillpoint::image
