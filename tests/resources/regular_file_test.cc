#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "helper/resources/deleted_file.h"
#include "tests/resources/round_trip.h"
#include "tests/resources/temporary_directory.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RegularFileTest : public testing::Test {
 protected:
  // An fd of the file `name`, which holds `content`, at offset `position`.
  int open_file(const std::string& name, const std::string& content, int flags, off_t position = 0) {
    write_file(directory_ / name, content);
    const int fd = ::open((directory_ / name).c_str(), flags);
    EXPECT_GE(fd, 0);
    EXPECT_EQ(::lseek(fd, position, SEEK_SET), position);
    return fd;
  }
  std::string read_rest(int fd) {
    std::string bytes(100, '\0');
    const ssize_t n = ::read(fd, bytes.data(), bytes.size());
    bytes.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return bytes;
  }

  TemporaryDirectory directory_;
  RoundTrip trip_;
};

TEST_F(RegularFileTest, KeepsOffsetAndAccessMode) {
  const int fd = open_file("input", "0123456789", O_RDONLY, 4);
  trip_.add(fd);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(read_rest(fd), "456789");
  EXPECT_LT(::write(fd, "x", 1), 0);
  EXPECT_THAT(trip_.restore_context.notes, IsEmpty());
}

TEST_F(RegularFileTest, SharedDescriptionSharesItsOffset) {
  const int fd = open_file("input", "0123456789", O_RDONLY, 2);
  const int twin = ::dup(fd);
  trip_.add({fd, twin});
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(::lseek(fd, 1, SEEK_CUR), 3);
  EXPECT_EQ(read_rest(twin), "3456789");
}

TEST_F(RegularFileTest, OutputWrittenAfterTheDumpIsTruncated) {
  const int fd = open_file("log", "one\n", O_WRONLY | O_APPEND);
  trip_.add(fd);
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  ASSERT_EQ(::write(fd, "two\n", 4), 4);
  trip_.lose();
  ASSERT_EQ(trip_.restore(), absl::OkStatus());
  EXPECT_EQ(read_file(directory_ / "log"), "one\n");
  EXPECT_TRUE(trip_.noted("truncated from 8 back to 4 bytes"));
  ASSERT_EQ(::lseek(fd, 0, SEEK_SET), 0);
  ASSERT_EQ(::write(fd, "again\n", 6), 6);
  EXPECT_EQ(read_file(directory_ / "log"), "one\nagain\n");
}

TEST_F(RegularFileTest, NothingIsTruncatedWhenAnotherFileIsMissing) {
  const int log = open_file("log", "one\n", O_WRONLY);
  const int input = open_file("input", "abc", O_RDONLY);
  trip_.add(log);
  trip_.add(input);
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  ASSERT_EQ(::pwrite(log, "two\n", 4, 4), 4);
  trip_.lose();
  std::filesystem::remove(directory_ / "input");
  EXPECT_FALSE(trip_.restore().ok());
  EXPECT_EQ(read_file(directory_ / "log"), "one\ntwo\n");
}

TEST_F(RegularFileTest, ShorterOutputIsRefused) {
  const int fd = open_file("log", "one\ntwo\n", O_RDWR);
  trip_.add(fd);
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  trip_.lose();
  std::filesystem::resize_file(directory_ / "log", 3);
  const absl::Status status = trip_.restore();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the file is shorter"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--map-path"));
  EXPECT_EQ(read_file(directory_ / "log"), "one");
}

TEST_F(RegularFileTest, VanishedFileIsNamed) {
  trip_.add(open_file("gone", "abc", O_RDONLY));
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  trip_.lose();
  std::filesystem::remove(directory_ / "gone");
  const absl::Status status = trip_.restore();
  EXPECT_THAT(std::string(status.message()), HasSubstr("the file has vanished"));
}

TEST_F(RegularFileTest, MappedPathIsUsed) {
  const int fd = open_file("old", "abc", O_RDONLY, 1);
  trip_.add(fd);
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  trip_.lose();
  std::filesystem::rename(directory_ / "old", directory_ / "new");
  trip_.restore_context.path_map[directory_ / "old"] = directory_ / "new";
  ASSERT_EQ(trip_.restore(), absl::OkStatus());
  EXPECT_EQ(read_rest(fd), "bc");
}

TEST_F(RegularFileTest, CopyOfAWrittenFileIsTakenWithANote) {
  const int fd = open_file("log", "one\n", O_RDWR, 4);
  trip_.add(fd);
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  trip_.lose();
  write_file(directory_ / "copy", "one\ntwo\n");
  std::filesystem::rename(directory_ / "copy", directory_ / "log");
  ASSERT_EQ(trip_.restore(), absl::OkStatus());
  EXPECT_TRUE(trip_.noted("taken as a copy"));
  EXPECT_EQ(read_file(directory_ / "log"), "one\n");
}

TEST_F(RegularFileTest, AnotherFileInPlaceOfAWrittenOneIsRefusedAndUntouched) {
  trip_.add(open_file("log", "one\n", O_RDWR));
  trip_.add(open_file("empty", "", O_RDWR));
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  trip_.lose();
  write_file(directory_ / "other", "uno\ndos\n");
  std::filesystem::rename(directory_ / "other", directory_ / "log");
  EXPECT_THAT(std::string(trip_.restore().message()), HasSubstr("replaced by a file with other content"));
  EXPECT_EQ(read_file(directory_ / "log"), "uno\ndos\n");
}

TEST_F(RegularFileTest, UnrelatedFileInPlaceOfAnEmptyOneIsNotTruncated) {
  trip_.add(open_file("empty", "", O_RDWR));
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  trip_.lose();
  write_file(directory_ / "other", "precious");
  std::filesystem::rename(directory_ / "other", directory_ / "empty");
  EXPECT_FALSE(trip_.restore().ok());
  EXPECT_EQ(read_file(directory_ / "empty"), "precious");
}

TEST_F(RegularFileTest, ContentChangedInPlaceIsNoted) {
  const int fd = open_file("table", "aaaa", O_RDWR);
  trip_.add(fd);
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  ASSERT_EQ(::pwrite(fd, "b", 1, 0), 1);
  trip_.lose();
  ASSERT_EQ(trip_.restore(), absl::OkStatus());
  EXPECT_TRUE(trip_.noted("changed in place"));
}

TEST_F(RegularFileTest, InputThatChangedIsNotedAndLeftAlone) {
  trip_.add(open_file("input", "abc", O_RDONLY));
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  trip_.lose();
  write_file(directory_ / "input", "abcdef");
  ASSERT_EQ(trip_.restore(), absl::OkStatus());
  EXPECT_TRUE(trip_.noted("size changed from 3 to 6"));
  EXPECT_EQ(read_file(directory_ / "input"), "abcdef");
}

TEST_F(RegularFileTest, FileOfAnotherTypeInItsPlaceIsRefusedWithoutBlocking) {
  trip_.add(open_file("file", "abc", O_WRONLY));
  trip_.add(open_file("file2", "abc", O_RDONLY));
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  trip_.lose();
  std::filesystem::remove(directory_ / "file");
  ASSERT_EQ(::mkfifo((directory_ / "file").c_str(), 0600), 0);
  EXPECT_FALSE(trip_.restore().ok());
}

TEST_F(RegularFileTest, DeletedFileTravelsWithItsContentAndHoles) {
  const int fd = open_file("temporary", "head", O_RDWR | O_APPEND, 2);
  ASSERT_EQ(::ftruncate(fd, 3 << 20), 0);
  ASSERT_EQ(::lseek(fd, 2, SEEK_SET), 2);
  ASSERT_EQ(::unlink((directory_ / "temporary").c_str()), 0);
  trip_.add(fd);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_LT(trip_.message(1).detail().size(), size_t{1} << 20) << "the hole is in the image";
  struct stat now = {};
  ASSERT_EQ(::fstat(fd, &now), 0);
  EXPECT_EQ(now.st_size, 3 << 20);
  EXPECT_EQ(now.st_nlink, 0u);
  char bytes[2];
  ASSERT_EQ(::read(fd, bytes, 2), 2);
  EXPECT_EQ(std::string(bytes, 2), "ad");
  EXPECT_TRUE((::fcntl(fd, F_GETFL) & O_APPEND) != 0);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(RegularFileTest, DescriptionsOfOneDeletedFileStayOneFile) {
  const int writer = open_file("temporary", "old", O_WRONLY);
  const int reader = ::open((directory_ / "temporary").c_str(), O_RDONLY);
  ASSERT_EQ(::fchmod(writer, 0400), 0);  // what the mode forbids now, the open descriptions still may do
  ASSERT_EQ(::unlink((directory_ / "temporary").c_str()), 0);
  trip_.add(reader);
  trip_.add(writer);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  ASSERT_EQ(::write(writer, "new", 3), 3);
  EXPECT_EQ(read_rest(reader), "new");
  struct stat now = {};
  ASSERT_EQ(::fstat(reader, &now), 0);
  EXPECT_EQ(now.st_mode & 07777, 0400u);
}

TEST_F(RegularFileTest, NamelessTemporaryFileTravels) {
  const int fd = ::open(directory_.path().c_str(), O_TMPFILE | O_RDWR, 0600);
  if (fd < 0) GTEST_SKIP() << "O_TMPFILE is not supported on " << directory_.path();
  ASSERT_EQ(::write(fd, "abc", 3), 3);
  trip_.add(fd);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  ASSERT_EQ(::lseek(fd, 0, SEEK_CUR), 3);
  ASSERT_EQ(::lseek(fd, 0, SEEK_SET), 0);
  EXPECT_EQ(read_rest(fd), "abc");
}

TEST_F(RegularFileTest, DeletedFileWithoutTmpfileSupport) {
  const int fd = open_file("temporary", "abc", O_RDWR);
  ASSERT_EQ(::unlink((directory_ / "temporary").c_str()), 0);
  trip_.add(fd);
  ::setenv("STILLPOINT_DISABLE", "o_tmpfile", 1);
  const absl::Status status = trip_.travel();
  ::unsetenv("STILLPOINT_DISABLE");
  ASSERT_EQ(status, absl::OkStatus());
  EXPECT_EQ(read_rest(fd), "abc");
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(RegularFileTest, DeletedFileWhoseDirectoryIsGoneIsKeptInMemory) {
  std::filesystem::create_directory(directory_ / "sub");
  const int fd = open_file("sub/temporary", "abc", O_RDWR);
  trip_.add(fd);
  std::filesystem::remove_all(directory_ / "sub");
  RoundTrip trip;
  trip.add(::dup(fd));
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  EXPECT_TRUE(trip.noted("kept in memory"));
}

TEST_F(RegularFileTest, FileThatAnotherWasRenamedOverTravelsWithItsContent) {
  const int fd = open_file("config", "old", O_RDONLY);
  write_file(directory_ / "config.new", "new");
  std::filesystem::rename(directory_ / "config.new", directory_ / "config");
  trip_.add(fd);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(read_rest(fd), "old");
  EXPECT_EQ(read_file(directory_ / "config"), "new");
}

TEST_F(RegularFileTest, NameThatOnlyLooksDeletedIsAName) {
  const int fd = open_file("report (deleted)", "abc", O_RDWR);
  trip_.add(fd);
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  ASSERT_EQ(::pwrite(fd, "abcdef", 6, 0), 6);
  trip_.lose();
  ASSERT_EQ(trip_.restore(), absl::OkStatus());
  EXPECT_EQ(read_file(directory_ / "report (deleted)"), "abc");
}

TEST_F(RegularFileTest, FileThatGotItsNameBackIsOpenedByName) {
  const int fd = open_file("file", "abc", O_RDWR);
  std::filesystem::create_hard_link(directory_ / "file", directory_ / "link");
  std::filesystem::remove(directory_ / "file");
  std::filesystem::create_hard_link(directory_ / "link", directory_ / "file");
  trip_.add(fd);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  ASSERT_EQ(::write(fd, "x", 1), 1);
  EXPECT_EQ(read_file(directory_ / "file"), "xbc");
}

TEST_F(RegularFileTest, WrittenFileUnderANameNobodyTellsIsAFinding) {
  const int fd = open_file("file", "abc", O_RDWR);
  std::filesystem::create_hard_link(directory_ / "file", directory_ / "elsewhere");
  std::filesystem::remove(directory_ / "file");
  trip_.add(fd);
  EXPECT_THAT(codes(trip_.audit()), ElementsAre("SP-FILE-LINKED-ELSEWHERE"));
}

TEST_F(RegularFileTest, LargeDeletedFileIsAFinding) {
  const int fd = open_file("huge", "", O_RDWR);
  ASSERT_EQ(::ftruncate(fd, static_cast<off_t>(kLargestDeletedFile) + 1), 0);
  ASSERT_EQ(::unlink((directory_ / "huge").c_str()), 0);
  trip_.add(fd);
  EXPECT_THAT(codes(trip_.audit()), ElementsAre("SP-FILE-DELETED-LARGE"));
  EXPECT_FALSE(trip_.dump().ok());
}

TEST_F(RegularFileTest, WorksWithoutPidfdGetfd) {
  const int named = open_file("named", "abc", O_RDWR, 1);
  const int deleted = open_file("deleted", "xyz", O_RDONLY, 1);
  ASSERT_EQ(::unlink((directory_ / "deleted").c_str()), 0);
  trip_.add_without_copy(named);
  trip_.add_without_copy(deleted);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(read_rest(named), "bc");
  EXPECT_EQ(read_rest(deleted), "yz");
}

TEST_F(RegularFileTest, PathThatIsNotUtf8Travels) {
  const int fd = open_file("caf\xe9\x01", "abc", O_RDONLY, 1);
  trip_.add(fd);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(read_rest(fd), "bc");
  EXPECT_THAT(trip_.message(1).description(), HasSubstr("caf\\xe9\\x01"));
}

}  // namespace
}  // namespace stillpoint
