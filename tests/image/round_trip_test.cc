#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "gmock/gmock.h"
#include "tests/image/image_fixture.h"

namespace stillpoint::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RoundTrip : public ImageTest {};

TEST_F(RoundTrip, EverythingComesBack) {
  const JobDirectory directory = job();
  absl::StatusOr<ImageWriter> writer = ImageWriter::create(directory, 1);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const size_t size = 2 * kChunkSize + 4096;
  ASSERT_TRUE(fill_sample(*writer, size).ok());
  ASSERT_TRUE(writer->write_file("empty.bin", "").ok());
  const UniqueFd library = source(noise(kChunkSize + 1, 7));
  const absl::StatusOr<FileEntry> stored = directory.store_file("abcdef", library.get());
  ASSERT_TRUE(stored.ok()) << stored.status();
  Manifest manifest;
  manifest.set_program("solver input.nml");
  manifest.set_root_pid(4242);
  *manifest.add_stored_files() = *stored;
  const absl::StatusOr<std::string> name = writer->publish(manifest);
  ASSERT_TRUE(name.ok()) << name.status();
  EXPECT_EQ(*name, "ckpt-00000001");

  const absl::StatusOr<ImageReader> reader = ImageReader::open(path());
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(reader->name(), path("ckpt-00000001"));
  EXPECT_EQ(reader->manifest().program(), "solver input.nml");
  EXPECT_EQ(reader->manifest().root_pid(), 4242);
  EXPECT_EQ(reader->manifest().sequence(), 1u);
  EXPECT_EQ(reader->manifest().format_version(), kFormatVersion);
  EXPECT_GT(reader->manifest().created_ns(), 0);
  EXPECT_EQ(reader->read_file(kStateName).value(), kSampleState);
  EXPECT_EQ(reader->read_file("empty.bin").value(), "");
  EXPECT_EQ(reader->read_file("pages-0.bin").value(), noise(size, size));
  const absl::StatusOr<UniqueFd> copy = reader->open_stored_file("abcdef");
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(checksum_file(copy->get(), "copy").value(), checksum_file(library.get(), "source").value());
  EXPECT_EQ(all_messages(reader->verify()), "");
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(RoundTrip, ProgressEndsAtTheTotal) {
  publish_sample(job(), 1, kChunkSize + 5);
  uint64_t calls = 0, last = 0, all = 0;
  const absl::StatusOr<ImageReader> reader = ImageReader::open(path());
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_TRUE(reader
                  ->verify([&](uint64_t done, uint64_t total) {
                    EXPECT_GT(done, last);
                    last = done;
                    all = total;
                    ++calls;
                  })
                  .empty());
  EXPECT_EQ(calls, 3u);
  EXPECT_EQ(last, all);
  EXPECT_EQ(all, kChunkSize + 5 + sizeof kSampleState - 1);
}

TEST_F(RoundTrip, AnImageOpensByEveryPathThatLeadsToIt) {
  publish_sample(job(), 3);
  ASSERT_EQ(::symlink("ckpt", (root() + "/elsewhere").c_str()), 0);
  for (const std::string& way :
       {path(), path("ckpt-00000003"), path("ckpt-00000003/"), path("latest"), root() + "/elsewhere"}) {
    const absl::StatusOr<ImageReader> reader = ImageReader::open(way);
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_EQ(reader->manifest().sequence(), 3u);
  }
}

TEST_F(RoundTrip, AnOPathDescriptorIsEnough) {
  publish_sample(job(), 3);
  const UniqueFd directory_fd(::open(path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const absl::StatusOr<JobDirectory> directory = JobDirectory::from_fd(directory_fd.get(), "given");
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_THAT(directory->sequences().value(), ElementsAre(3));
  publish_sample(*directory, 4);
  const UniqueFd image_fd(::open(path("ckpt-00000004").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const absl::StatusOr<ImageReader> reader = ImageReader::from_fd(image_fd.get(), "given");
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_TRUE(reader->verify().empty());
}

TEST_F(RoundTrip, ModesAreTheOwnersAloneWhateverTheUmask) {
  const mode_t before = ::umask(0777);
  publish_sample(job(), 1);
  ::umask(before);
  struct stat stat = {};
  ASSERT_EQ(::stat(path("ckpt-00000001").c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 07777, 0700u);
  for (const char* file : {"manifest.pb", "state.pb", "pages-0.bin"}) {
    ASSERT_EQ(::stat(path(std::string("ckpt-00000001/") + file).c_str(), &stat), 0);
    EXPECT_EQ(stat.st_mode & 07777, 0600u) << file;
  }
}

TEST_F(RoundTrip, DirectoriesWithoutImagesSayWhatTheyAre) {
  const JobDirectory directory = job();
  EXPECT_EQ(directory.latest().value(), std::nullopt);
  EXPECT_EQ(directory.next_sequence().value(), 1u);
  const absl::Status empty = ImageReader::open(path()).status();
  EXPECT_TRUE(absl::IsNotFound(empty)) << empty;
  EXPECT_THAT(std::string(empty.message()), HasSubstr(path()));
  const absl::Status missing = ImageReader::open(root() + "/nowhere").status();
  EXPECT_THAT(std::string(missing.message()), HasSubstr("ENOENT"));
  EXPECT_FALSE(JobDirectory::open(root() + "/nowhere", false).ok());
}

TEST_F(RoundTrip, WithoutALinkTheNewestImageIsTaken) {
  publish_sample(job(), 1);
  publish_sample(job(), 2);
  ASSERT_EQ(::unlink(path("latest").c_str()), 0);
  EXPECT_EQ(ImageReader::open(path()).value().manifest().sequence(), 2u);
}

TEST_F(RoundTrip, ALinkToElsewhereIsRefused) {
  publish_sample(job(), 1);
  for (const char* target : {"../../etc", "/etc", "ckpt-1", "ckpt-00000001/../ckpt-00000001", "files"}) {
    ASSERT_EQ(::unlink(path("latest").c_str()), 0);
    ASSERT_EQ(::symlink(target, path("latest").c_str()), 0);
    const absl::Status status = ImageReader::open(path()).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("latest"));
  }
  publish_sample(job(), 2);  // and the next publication mends it
  EXPECT_EQ(job().latest().value(), 2u);
}

TEST_F(RoundTrip, WorksWithoutTheNewerSystemCalls) {
#ifndef STILLPOINT_TEST_SWITCHES
  GTEST_SKIP() << "needs a build with STILLPOINT_TEST_SWITCHES";
#endif
  const std::string text = in_child([&] {
    ::setenv("STILLPOINT_DISABLE", "openat2,renameat2,reflink,copy_file_range", 1);
    publish_sample(job(), 1);
    const absl::StatusOr<FileEntry> stored = job().store_file("ab", source(noise(kChunkSize + 3, 1)).get());
    return stored.status().ToString() + verification(path()).ToString();
  });
  EXPECT_EQ(text, "OKOK");
}

TEST_F(RoundTrip, ParentsOfADeltaAreVerifiedWithIt) {
  publish_sample(job(), 1);
  Manifest delta;
  delta.set_parent(image_name(1));
  publish_sample(job(), 2, 100, delta);
  EXPECT_TRUE(verification(path()).ok());
  flip_byte(path("ckpt-00000001/pages-0.bin"), 77);
  EXPECT_THAT(std::string(verification(path()).message()),
              HasSubstr("ckpt-00000001/pages-0.bin is damaged in chunk 0"));
  std::filesystem::remove_all(path("ckpt-00000001"));
  EXPECT_THAT(std::string(verification(path()).message()), HasSubstr("ckpt-00000001"));
}

TEST_F(RoundTrip, TheNewestThatVerifiesIsFoundWithReasonsForTheOthers) {
  for (uint64_t sequence = 1; sequence <= 4; ++sequence) publish_sample(job(), sequence);
  flip_byte(path("ckpt-00000004/state.pb"), 3);
  flip_byte(path("ckpt-00000003/manifest.pb"), 30);
  const absl::StatusOr<NewestVerifying> newest = newest_verifying(job());
  ASSERT_TRUE(newest.ok()) << newest.status();
  ASSERT_TRUE(newest->image.has_value());
  EXPECT_EQ(newest->image->manifest().sequence(), 2u);
  ASSERT_EQ(newest->rejected.size(), 2u);
  EXPECT_EQ(newest->rejected[0].name, "ckpt-00000004");
  EXPECT_THAT(all_messages(newest->rejected[0].reasons), HasSubstr("state.pb is damaged in chunk 0"));
  EXPECT_EQ(newest->rejected[1].name, "ckpt-00000003");
  EXPECT_THAT(all_messages(newest->rejected[1].reasons), HasSubstr("manifest.pb is damaged"));
}

}  // namespace
}  // namespace stillpoint::image
