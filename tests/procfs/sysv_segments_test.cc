#include "helper/procfs/sysv_segments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stillpoint::procfs {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kHeader[] =
    "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime"
    "      ctime                   rss                  swap\n";

TEST(SysvSegments, AreRead) {
  const absl::StatusOr<std::vector<SysvSegment>> segments = parse_sysv_segments(
      std::string(kHeader) +
      "      4660         26   600                  5000  1566  1567      2  1000   100  1001   101 1795786255 0 0 0 "
      "0\n"
      "-559038737      32795  1644                    56    42     0      0     0     0     0     0 0 0 0 0 0\n"
      "         0         27  2600  18446744073709551615     0     0      0     0     0     0     0\n");
  ASSERT_TRUE(segments.ok()) << segments.status();
  ASSERT_EQ(segments->size(), 3u);
  const SysvSegment& first = (*segments)[0];
  EXPECT_EQ(first.key, 4660);
  EXPECT_EQ(first.id, 26);
  EXPECT_EQ(first.mode, 0600u);
  EXPECT_FALSE(first.removed || first.locked);
  EXPECT_EQ(first.size, 5000u);
  EXPECT_EQ(first.creator, 1566);
  EXPECT_EQ(first.last_pid, 1567);
  EXPECT_EQ(first.attachments, 2u);
  EXPECT_EQ(first.uid, 1000u);
  EXPECT_EQ(first.gid, 100u);
  EXPECT_EQ(first.creator_uid, 1001u);
  EXPECT_EQ(first.creator_gid, 101u);
  EXPECT_EQ((*segments)[1].key, -559038737);
  EXPECT_EQ((*segments)[1].mode, 0644u);
  EXPECT_TRUE((*segments)[1].removed);
  EXPECT_TRUE((*segments)[2].locked);
  EXPECT_EQ((*segments)[2].size, ~uint64_t{0});
}

TEST(SysvSegments, NoneIsNoError) {
  const absl::StatusOr<std::vector<SysvSegment>> segments = parse_sysv_segments(kHeader);
  ASSERT_TRUE(segments.ok());
  EXPECT_THAT(*segments, IsEmpty());
}

TEST(SysvSegments, MalformedLinesAreNamed) {
  for (const absl::string_view line :
       {"\n", "1\n", "1 2 600 5 1 1 1 0 0 0\n", "1 2 800 5 1 1 1 0 0 0 0\n", "1 -2 600 5 1 1 1 0 0 0 0\n",
        "1 2 600 x 1 1 1 0 0 0 0\n", "99999999999 2 600 5 1 1 1 0 0 0 0\n", "1 2 600 5 1 1 -1 0 0 0 0\n"}) {
    const absl::StatusOr<std::vector<SysvSegment>> segments =
        parse_sysv_segments(std::string(kHeader) + std::string(line));
    EXPECT_THAT(segments.status().message(), HasSubstr("line 2")) << line;
  }
}

TEST(SysvSegments, OfThisSystem) { EXPECT_TRUE(read_sysv_segments().ok()) << read_sysv_segments().status(); }

}  // namespace
}  // namespace stillpoint::procfs
