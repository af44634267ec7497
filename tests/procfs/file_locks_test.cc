#include "helper/procfs/file_locks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stillpoint::procfs {
namespace {

using ::testing::HasSubstr;

using Type = FileLock::Type;

FileLock parsed(absl::string_view line) {
  FileLock lock;
  EXPECT_TRUE(parse_file_lock(line, lock)) << line;
  return lock;
}

TEST(FileLocks, OfEveryKind) {
  const absl::StatusOr<std::vector<FileLock>> locks = parse_file_locks(
      "1: POSIX  ADVISORY  WRITE 7227 fe:00:10952852 5 14\n"
      "2: FLOCK  ADVISORY  READ  41 00:1f:3 0 EOF\n"
      "2: -> FLOCK  ADVISORY  WRITE 42 00:1f:3 0 EOF\n"
      "2:  -> POSIX  ADVISORY  WRITE 43 00:1f:3 0 EOF\n"
      "3: OFDLCK ADVISORY  READ -1 fe:00:7 9 EOF\n"
      "4: LEASE  ACTIVE    READ 9 fe:00:8 0 EOF\n"
      "5: LEASE  BREAKING  UNLCK 9 fe:00:8 0 EOF\n"
      "6: POSIX  MANDATORY WRITE 9 fe:00:8 0 0\n");
  ASSERT_TRUE(locks.ok()) << locks.status();
  ASSERT_EQ(locks->size(), 8u);
  EXPECT_EQ((*locks)[0].type, Type::kPosix);
  EXPECT_TRUE((*locks)[0].write);
  EXPECT_EQ((*locks)[0].pid, 7227);
  EXPECT_EQ((*locks)[0].file, "fe:00:10952852");
  EXPECT_EQ((*locks)[0].first, 5u);
  EXPECT_EQ((*locks)[0].last, 14u);
  EXPECT_EQ((*locks)[1].type, Type::kFlock);
  EXPECT_FALSE((*locks)[1].write || (*locks)[1].waiting);
  EXPECT_EQ((*locks)[1].last, kEndOfFile);
  EXPECT_TRUE((*locks)[2].waiting && (*locks)[3].waiting);
  EXPECT_EQ((*locks)[4].type, Type::kOpenFileDescription);
  EXPECT_EQ((*locks)[4].pid, -1);
  for (const size_t i : {5, 6, 7}) EXPECT_EQ((*locks)[i].type, Type::kOther) << i;
}

TEST(FileLocks, WhoseOwnerHasNoPidHere) { EXPECT_EQ(parsed("1: FLOCK  ADVISORY  WRITE 0 fe:00:1 0 EOF").pid, 0); }

TEST(FileLocks, MalformedLinesAreNamed) {
  for (const absl::string_view line :
       {"", "1", "1:", "x: FLOCK  ADVISORY  WRITE 1 fe:00:1 0 EOF", "1: FLOCK  ADVISORY  WRITE", "1: ->",
        "1: FLOCK  ADVISORY  SHARE 1 fe:00:1 0 EOF", "1: FLOCK  ADVISORY  WRITE one fe:00:1 0 EOF",
        "1: POSIX  ADVISORY  WRITE 1 fe:00:1 5", "1: POSIX  ADVISORY  WRITE 1 fe:00:1 5 4",
        "1: POSIX  ADVISORY  WRITE 1 fe:00:1 -1 4", "1: POSIX  ADVISORY  WRITE 1 fe:00:1 0 9223372036854775808",
        "1: POSIX  ADVISORY  WRITE 1 fe:00:1 0 99999999999999999999", "1: POSIX  ADVISORY  WRITE 1 fe:00:1 0 EOF more",
        "1: POSIX  ADVISORY  WRITE 99999999999 fe:00:1 0 EOF"}) {
    FileLock lock;
    EXPECT_FALSE(parse_file_lock(line, lock)) << line;
  }
  const absl::StatusOr<std::vector<FileLock>> locks =
      parse_file_locks("1: FLOCK  ADVISORY  WRITE 1 fe:00:1 0 EOF\nnonsense\n");
  EXPECT_THAT(locks.status().message(), HasSubstr("line 2"));
}

TEST(FileLocks, OfThisSystem) { EXPECT_TRUE(read_file_locks().ok()) << read_file_locks().status(); }

}  // namespace
}  // namespace stillpoint::procfs
