#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/resources/round_trip.h"
#include "tests/resources/temporary_directory.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Takes names from a directory by getdents64 into `names`, a buffer of `size` bytes at a time, `reads` times at most.
void list_some(int fd, size_t size, int reads, std::multiset<std::string>& names) {
  alignas(8) char buffer[32768];
  for (; reads > 0; --reads) {
    const long n = ::syscall(SYS_getdents64, fd, buffer, size);
    ASSERT_GE(n, 0);
    if (n == 0) return;
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      names.insert(entry->d_name);
      at += entry->d_reclen;
    }
  }
}

TEST(DirectoryTest, ListingGoesOnWhereItWas) {
  TemporaryDirectory directory;
  std::multiset<std::string> expected = {".", ".."};
  for (int i = 0; i < 200; ++i) {
    write_file(directory / absl::StrCat("file-", i), "");
    expected.insert(absl::StrCat("file-", i));
  }
  const int fd = ::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY);
  std::multiset<std::string> names;
  list_some(fd, 1024, 2, names);
  ASSERT_LT(names.size(), expected.size());
  RoundTrip trip;
  trip.add(fd);
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  list_some(fd, 1024, 1000, names);
  EXPECT_EQ(names, expected);
  EXPECT_THAT(trip.restore_context.notes, IsEmpty());
}

TEST(DirectoryTest, AnotherDirectoryInItsPlaceIsNotedWhenAListingIsInProgress) {
  TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "d");
  for (int i = 0; i < 100; ++i) write_file(directory / absl::StrCat("d/file-", i), "");
  const int fd = ::open((directory / "d").c_str(), O_RDONLY | O_DIRECTORY);
  std::multiset<std::string> names;
  list_some(fd, 512, 1, names);
  RoundTrip trip;
  trip.add(fd);
  ASSERT_EQ(trip.dump(), absl::OkStatus());
  trip.lose();
  std::filesystem::rename(directory / "d", directory / "away");
  std::filesystem::create_directory(directory / "d");
  ASSERT_EQ(trip.restore(), absl::OkStatus());
  EXPECT_TRUE(trip.noted("may miss or repeat names"));
}

TEST(DirectoryTest, RemovedDirectoryIsAFinding) {
  TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "d");
  const int fd = ::open((directory / "d").c_str(), O_RDONLY | O_DIRECTORY);
  std::filesystem::remove(directory / "d");
  RoundTrip trip;
  trip.add(fd);
  EXPECT_THAT(codes(trip.audit()), ElementsAre("SP-DIRECTORY-DELETED"));
}

TEST(PathFdTest, StandsForTheSamePlace) {
  TemporaryDirectory directory;
  write_file(directory / "file", "abc");
  ASSERT_EQ(::symlink("file", (directory / "link").c_str()), 0);
  const int file = ::open((directory / "file").c_str(), O_PATH);
  const int link = ::open((directory / "link").c_str(), O_PATH | O_NOFOLLOW);
  const int place = ::open(directory.path().c_str(), O_PATH | O_DIRECTORY);
  RoundTrip trip;
  trip.add(file);
  trip.add(link);
  trip.add(place);
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  struct stat now = {};
  ASSERT_EQ(::fstat(link, &now), 0);
  EXPECT_TRUE(S_ISLNK(now.st_mode));
  ASSERT_EQ(::fstatat(place, "file", &now, 0), 0);
  EXPECT_EQ(now.st_size, 3);
  char byte;
  EXPECT_LT(::read(file, &byte, 1), 0) << "an O_PATH descriptor cannot be read";
}

TEST(PathFdTest, DeletedTargetIsAFinding) {
  TemporaryDirectory directory;
  write_file(directory / "file", "abc");
  const int fd = ::open((directory / "file").c_str(), O_PATH);
  std::filesystem::remove(directory / "file");
  RoundTrip trip;
  trip.add(fd);
  EXPECT_THAT(codes(trip.audit()), ElementsAre("SP-PATH-FD"));
}

TEST(PathFdTest, AnotherTypeInItsPlaceIsRefused) {
  TemporaryDirectory directory;
  write_file(directory / "file", "abc");
  RoundTrip trip;
  trip.add(::open((directory / "file").c_str(), O_PATH));
  ASSERT_EQ(trip.dump(), absl::OkStatus());
  trip.lose();
  std::filesystem::remove(directory / "file");
  std::filesystem::create_directory(directory / "file");
  EXPECT_THAT(std::string(trip.restore().message()), HasSubstr("another type"));
}

}  // namespace
}  // namespace stillpoint
