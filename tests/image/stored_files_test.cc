#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "gmock/gmock.h"
#include "tests/image/image_fixture.h"

namespace stillpoint::image {
namespace {

using testing::StartsWith;

class StoredFiles : public ImageTest {};

TEST_F(StoredFiles, AreStoredOnceWithoutMovingTheSource) {
  const std::string content = noise(kChunkSize + 77, 1);
  const UniqueFd fd = source(content);
  ASSERT_EQ(::lseek(fd.get(), 5, SEEK_SET), 5);
  const absl::StatusOr<FileEntry> first = job().store_file("abcdef", fd.get());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->name(), "abcdef");
  EXPECT_EQ(first->size(), content.size());
  EXPECT_EQ(first->chunks_size(), 2);
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_CUR), 5);
  EXPECT_EQ(read_file_at(path("files/abcdef")), content);
  struct stat before = {}, after = {};
  ASSERT_EQ(::stat(path("files/abcdef").c_str(), &before), 0);
  EXPECT_EQ(before.st_mode & 0777, 0700u);  // it may become a process's executable
  const absl::StatusOr<FileEntry> second = job().store_file("abcdef", fd.get());
  ASSERT_TRUE(second.ok());
  ASSERT_EQ(::stat(path("files/abcdef").c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_EQ(first->SerializeAsString(), second->SerializeAsString());
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(StoredFiles, ADamagedCopyIsReplaced) {
  const std::string content = noise(50000, 1);
  const UniqueFd fd = source(content);
  for (int kind = 0; kind < 5; ++kind) {
    ASSERT_TRUE(job().store_file("abcdef", fd.get()).ok());
    if (kind == 0) flip_byte(path("files/abcdef"), 40000);
    if (kind == 1) {
      ASSERT_EQ(::truncate(path("files/abcdef").c_str(), 0), 0);
    }
    if (kind >= 2) {
      ASSERT_EQ(::unlink(path("files/abcdef").c_str()), 0);
    }
    if (kind == 2) {
      ASSERT_EQ(::symlink("/etc/passwd", path("files/abcdef").c_str()), 0);
    }
    if (kind == 3) {
      ASSERT_EQ(::mkfifo(path("files/abcdef").c_str(), 0600), 0);
    }
    if (kind == 4) {
      ASSERT_EQ(::mkdir(path("files/abcdef").c_str(), 0700), 0);
    }
    const absl::StatusOr<FileEntry> stored = job().store_file("abcdef", fd.get());
    ASSERT_TRUE(stored.ok()) << kind << ": " << stored.status();
    EXPECT_EQ(stored->name(), "abcdef");
    ASSERT_TRUE(std::filesystem::is_regular_file(std::filesystem::symlink_status(path("files/abcdef")))) << kind;
    EXPECT_EQ(read_file_at(path("files/abcdef")), content) << kind;
  }
}

TEST_F(StoredFiles, AnotherFileOfTheSameBuildIdDoesNotSpoilOldImages) {
  Manifest manifest;
  *manifest.add_stored_files() = job().store_file("abcdef", source("before strip").get()).value();
  publish_sample(job(), 1, 100, manifest);
  const absl::StatusOr<FileEntry> stripped = job().store_file("abcdef", source("stripped").get());
  ASSERT_TRUE(stripped.ok()) << stripped.status();
  EXPECT_THAT(stripped->name(), StartsWith("abcdef-"));
  EXPECT_TRUE(verification(path()).ok()) << verification(path());
  *manifest.mutable_stored_files(0) = *stripped;
  publish_sample(job(), 2, 100, manifest);
  EXPECT_TRUE(verification(path()).ok()) << verification(path());
  EXPECT_EQ(job().store_file("abcdef", source("stripped").get()).value().name(), stripped->name());
}

TEST_F(StoredFiles, ADamagedCopyThatAnImageNeedsIsMendedFromTheSource) {
  Manifest manifest;
  *manifest.add_stored_files() = job().store_file("abcdef", source("library").get()).value();
  publish_sample(job(), 1, 100, manifest);
  flip_byte(path("files/abcdef"), 2);
  EXPECT_FALSE(verification(path()).ok());
  EXPECT_EQ(job().store_file("abcdef", source("library").get()).value().name(), "abcdef");
  EXPECT_TRUE(verification(path()).ok()) << verification(path());
}

class UnchangedSources : public ImageTest {
 protected:
  // An image whose stored file has that source, old enough to be told from a changed one.
  void SetUp() override {
    write_file_at(library_, noise(50000, 1));
    ::sleep(3);
    const UniqueFd fd(::open(library_.c_str(), O_RDONLY | O_CLOEXEC));
    absl::StatusOr<FileEntry> entry = job().store_file("abcdef", fd.get());
    ASSERT_TRUE(entry.ok()) << entry.status();
    ASSERT_TRUE(entry->has_source());
    Manifest manifest;
    *manifest.add_stored_files() = *std::move(entry);
    publish_sample(job(), 1, 1000, manifest);
  }
  std::optional<FileEntry> known() {
    const std::optional<Manifest> latest = job().latest_manifest();
    const UniqueFd fd(::open(library_.c_str(), O_RDONLY | O_CLOEXEC));
    return latest.has_value() ? job().stored_already(*latest, fd.get()) : std::nullopt;
  }
  const std::string library_ = root() + "/library";
  const std::string copy_ = path("files/abcdef");
};

TEST_F(UnchangedSources, AreNotReadAgainUntilSomebodyTouchesThem) {
  ASSERT_TRUE(known().has_value());
  EXPECT_EQ(known()->name(), "abcdef");
  ASSERT_EQ(::chmod(library_.c_str(), 0755), 0);  // anything that moves its ctime
  EXPECT_FALSE(known().has_value());
}

TEST_F(UnchangedSources, AreKnownByInode) {
  std::filesystem::copy_file(library_, library_ + ".new");
  std::filesystem::rename(library_ + ".new", library_);
  EXPECT_FALSE(known().has_value());
}

TEST_F(UnchangedSources, ACopyThatWasTouchedIsComparedAgain) {
  flip_byte(copy_, 40000);
  EXPECT_FALSE(known().has_value());
}

TEST_F(UnchangedSources, ACopyThatIsGoneIsStoredAgain) {
  ASSERT_TRUE(std::filesystem::remove(copy_));
  EXPECT_FALSE(known().has_value());
  ASSERT_EQ(::symlink(library_.c_str(), copy_.c_str()), 0);
  EXPECT_FALSE(known().has_value());
}

TEST_F(UnchangedSources, ADamagedManifestTellsNothing) {
  flip_byte(path("ckpt-00000001/manifest.pb"), 100);
  EXPECT_FALSE(job().latest_manifest().has_value());
}

TEST_F(StoredFiles, ASourceThatHasJustChangedIsNotTrusted) {
  const UniqueFd fd = source(noise(50000, 1));
  EXPECT_FALSE(job().store_file("abcdef", fd.get())->has_source());
}

TEST_F(StoredFiles, OddNamesAndSourcesAreRefused) {
  const UniqueFd fd = source("x");
  for (const char* name : {"", ".", "..", "../owner", "a/b", ".ab", "libc.so.6", "ABCDEF"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(job().store_file(name, fd.get()).status())) << name;
  }
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]), writer(ends[1]);
  EXPECT_TRUE(absl::IsInvalidArgument(job().store_file("ab", reader.get()).status()));
  EXPECT_FALSE(job().store_file("ab", -1).ok());
  EXPECT_FALSE(std::filesystem::exists(path("files")));
}

TEST_F(StoredFiles, AnEmptyFileIsStoredToo) {
  const absl::StatusOr<FileEntry> stored = job().store_file("ab", source("").get());
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->size(), 0u);
  EXPECT_EQ(stored->chunks_size(), 0);
}

}  // namespace
}  // namespace stillpoint::image
