// One wrong byte anywhere, a wrong size, a file too many or too few: the reader says which file, and which chunk.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/image/image_fixture.h"

namespace stillpoint::image {
namespace {

using testing::HasSubstr;

constexpr size_t kPagesSize = 2 * kChunkSize + 8192;
constexpr size_t kStoredSize = kChunkSize + 333;

class Damage : public ImageTest {
 protected:
  void SetUp() override {
    const JobDirectory directory = job();
    absl::StatusOr<ImageWriter> writer = ImageWriter::create(directory, 1);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE(fill_sample(*writer, kPagesSize).ok());
    ASSERT_TRUE(writer->write_file("zeros.bin", std::string(5000, '\0')).ok());  // as padding is
    Manifest manifest;
    absl::StatusOr<FileEntry> stored = directory.store_file("abcdef", source(noise(kStoredSize, 5)).get());
    ASSERT_TRUE(stored.ok()) << stored.status();
    *manifest.add_stored_files() = *std::move(stored);
    ASSERT_TRUE(writer->publish(manifest).ok());
    ASSERT_EQ(all_messages(verify_image(image())), "");
  }

  std::string image() const { return path("ckpt-00000001"); }

  // Exactly one error, and it names `file`.
  void expect_one_error(const std::string& file, const std::string& what) {
    const std::vector<absl::Status> errors = verify_image(image());
    ASSERT_EQ(errors.size(), 1u) << file << ": " << all_messages(errors);
    EXPECT_TRUE(absl::IsDataLoss(errors[0])) << errors[0];
    EXPECT_THAT(std::string(errors[0].message()), HasSubstr(absl::StrCat("/", file)));
    EXPECT_THAT(std::string(errors[0].message()), HasSubstr(what));
  }
};

TEST_F(Damage, EveryByteOfTheManifestIsCovered) {
  const std::string manifest = absl::StrCat(image(), "/manifest.pb");
  const uint64_t size = std::filesystem::file_size(manifest);
  for (uint64_t offset = 0; offset < size; ++offset) {
    const uint8_t mask = static_cast<uint8_t>(1u << (offset % 8));
    flip_byte(manifest, offset, mask);
    expect_one_error("manifest.pb", "is damaged");
    EXPECT_FALSE(ImageReader::open(image()).ok()) << offset;
    flip_byte(manifest, offset, mask);
  }
  EXPECT_TRUE(ImageReader::open(image()).ok());
}

TEST_F(Damage, EveryByteOfTheStateIsCovered) {
  const std::string state = absl::StrCat(image(), "/state.pb");
  const absl::StatusOr<ImageReader> reader = ImageReader::open(image());
  ASSERT_TRUE(reader.ok());
  for (uint64_t offset = 0; offset < std::filesystem::file_size(state); ++offset) {
    flip_byte(state, offset, 0x80);
    expect_one_error("state.pb", "damaged in chunk 0");
    EXPECT_THAT(std::string(reader->read_file(kStateName).status().message()),
                HasSubstr("state.pb is damaged in chunk 0"));
    flip_byte(state, offset, 0x80);
  }
  EXPECT_EQ(reader->read_file(kStateName).value(), kSampleState);
}

TEST_F(Damage, RandomBytesOfAllFilesAreCovered) {
  struct Target {
    std::string path, name;
    uint64_t size;
  };
  std::vector<Target> targets;
  for (const char* name : {"manifest.pb", "state.pb", "pages-0.bin", "zeros.bin"}) {
    targets.push_back(
        {absl::StrCat(image(), "/", name), name, std::filesystem::file_size(absl::StrCat(image(), "/", name))});
  }
  targets.push_back({path("files/abcdef"), "abcdef", kStoredSize});
  std::mt19937_64 random(20240601);
  for (int round = 0; round < 300; ++round) {
    const Target& target = targets[random() % targets.size()];
    const uint64_t offset = random() % target.size;
    const uint8_t mask = static_cast<uint8_t>(1 + random() % 255);
    flip_byte(target.path, offset, mask);
    expect_one_error(target.name, target.name == "manifest.pb"
                                      ? "is damaged"
                                      : absl::StrCat("damaged in chunk ", offset / kChunkSize, " "));
    flip_byte(target.path, offset, mask);
    ASSERT_FALSE(HasFatalFailure()) << target.name << " at " << offset;
  }
  EXPECT_EQ(all_messages(verify_image(image())), "");
}

TEST_F(Damage, TheFirstAndLastByteOfEveryChunkAreCovered) {
  for (const uint64_t offset :
       {uint64_t{0}, kChunkSize - 1, kChunkSize, 2 * kChunkSize - 1, 2 * kChunkSize, kPagesSize - 1}) {
    flip_byte(absl::StrCat(image(), "/pages-0.bin"), offset);
    expect_one_error("pages-0.bin", absl::StrCat("damaged in chunk ", offset / kChunkSize, " "));
    flip_byte(absl::StrCat(image(), "/pages-0.bin"), offset);
  }
}

TEST_F(Damage, AllDamageIsReportedAtOnce) {
  flip_byte(absl::StrCat(image(), "/pages-0.bin"), 1);
  flip_byte(absl::StrCat(image(), "/pages-0.bin"), 2 * kChunkSize + 1);
  flip_byte(path("files/abcdef"), kChunkSize);
  ASSERT_EQ(::truncate(absl::StrCat(image(), "/zeros.bin").c_str(), 4999), 0);
  ASSERT_EQ(::unlink(absl::StrCat(image(), "/state.pb").c_str()), 0);
  write_file_at(absl::StrCat(image(), "/core"), "x");
  const std::vector<absl::Status> errors = verify_image(image());
  EXPECT_EQ(errors.size(), 6u) << all_messages(errors);
  const std::string text = all_messages(errors);
  for (const char* part :
       {"pages-0.bin is damaged in chunk 0", "pages-0.bin is damaged in chunk 2", "abcdef is damaged in chunk 1",
        "zeros.bin is truncated", "state.pb is missing", "core does not belong"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  // Opening tells what is wrong with the files, too, all in one line.
  const std::string opening(ImageReader::open(image()).status().message());
  for (const char* part : {"zeros.bin is truncated", "state.pb is missing", "core does not belong"}) {
    EXPECT_THAT(opening, HasSubstr(part));
  }
}

TEST_F(Damage, TruncatedFilesAreRefused) {
  for (const char* name : {"manifest.pb", "state.pb", "pages-0.bin", "zeros.bin"}) {
    const std::string file = absl::StrCat(image(), "/", name);
    const std::string content = read_file_at(file);
    for (const size_t size : {size_t{0}, size_t{1}, content.size() / 2, content.size() - 1}) {
      ASSERT_EQ(::truncate(file.c_str(), static_cast<off_t>(size)), 0);
      expect_one_error(name, std::string(name) == "manifest.pb" ? "is damaged" : "is truncated");
      EXPECT_FALSE(ImageReader::open(image()).ok());
    }
    write_file_at(file, content);
  }
  ASSERT_EQ(::truncate(path("files/abcdef").c_str(), 10), 0);
  expect_one_error("abcdef", "is truncated");
}

TEST_F(Damage, LargerFilesAreRefused) {
  for (const char* name : {"manifest.pb", "state.pb", "pages-0.bin"}) {
    const std::string file = absl::StrCat(image(), "/", name);
    const uint64_t size = std::filesystem::file_size(file);
    ASSERT_EQ(::truncate(file.c_str(), static_cast<off_t>(size + 1)), 0);
    expect_one_error(name, std::string(name) == "manifest.pb" ? "is damaged" : "is too large");
    ASSERT_EQ(::truncate(file.c_str(), static_cast<off_t>(size)), 0);
  }
}

TEST_F(Damage, MissingFilesAreRefused) {
  for (const char* name : {"manifest.pb", "state.pb", "pages-0.bin"}) {
    const std::string file = absl::StrCat(image(), "/", name);
    ASSERT_EQ(::rename(file.c_str(), absl::StrCat(root(), "/aside").c_str()), 0);
    const absl::Status status = verification(image());
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    EXPECT_THAT(std::string(status.message()), HasSubstr("is missing"));
    ASSERT_EQ(::rename(absl::StrCat(root(), "/aside").c_str(), file.c_str()), 0);
  }
  ASSERT_EQ(::unlink(path("files/abcdef").c_str()), 0);
  expect_one_error("abcdef", "is missing");
  ASSERT_EQ(::rmdir(path("files").c_str()), 0);
  expect_one_error("files", "is missing");
}

TEST_F(Damage, OtherKindsOfFilesAreRefusedAndNotOpened) {
  const std::string aside = absl::StrCat(root(), "/aside");
  for (const char* name : {"manifest.pb", "state.pb", "pages-0.bin"}) {
    const std::string file = absl::StrCat(image(), "/", name);
    ASSERT_EQ(::rename(file.c_str(), aside.c_str()), 0);
    ASSERT_EQ(::symlink(aside.c_str(), file.c_str()), 0);
    expect_one_error(name, "is a symbolic link");
    ASSERT_EQ(::unlink(file.c_str()), 0);
    ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
    expect_one_error(name, "is a FIFO");  // and does not wait for a writer
    ASSERT_EQ(::unlink(file.c_str()), 0);
    ASSERT_EQ(::mkdir(file.c_str(), 0700), 0);
    expect_one_error(name, "is a directory");
    ASSERT_EQ(::rmdir(file.c_str()), 0);
    ASSERT_EQ(::rename(aside.c_str(), file.c_str()), 0);
  }
  const std::string elsewhere = absl::StrCat(root(), "/files");
  ASSERT_EQ(::rename(path("files").c_str(), elsewhere.c_str()), 0);
  ASSERT_EQ(::symlink(elsewhere.c_str(), path("files").c_str()), 0);
  EXPECT_FALSE(verification(image()).ok());
}

TEST_F(Damage, ForeignFilesAreRefused) {
  for (const char* name : {"extra", ".hidden", "pages-1.bin", "a\nb"}) {
    const std::string file = absl::StrCat(image(), "/", name);
    write_file_at(file, "");
    const std::vector<absl::Status> errors = verify_image(image());
    ASSERT_EQ(errors.size(), 1u) << all_messages(errors);
    EXPECT_THAT(std::string(errors[0].message()), HasSubstr("does not belong to the image"));
    EXPECT_FALSE(ImageReader::open(image()).ok());
    ASSERT_EQ(::unlink(file.c_str()), 0);
  }
}

TEST_F(Damage, FilesTheManifestDoesNotNameCannotBeRead) {
  const absl::StatusOr<ImageReader> reader = ImageReader::open(image());
  ASSERT_TRUE(reader.ok());
  for (const char* name : {"manifest.pb", "../owner", "/etc/passwd", "", "nothing"}) {
    EXPECT_FALSE(reader->open_file(name).ok()) << name;
    EXPECT_FALSE(reader->read_file(name).ok()) << name;
    EXPECT_FALSE(reader->open_stored_file(name).ok()) << name;
  }
}

}  // namespace
}  // namespace stillpoint::image
