#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "helper/procfs/process_files.h"

namespace stillpoint::procfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ParseCgroups, ReadsBothVersions) {
  const auto lines = parse_cgroups("12:memory:/user/a:b\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/user.slice\n");
  ASSERT_TRUE(lines.ok()) << lines.status();
  ASSERT_EQ(lines->size(), 4u);
  EXPECT_EQ((*lines)[0].hierarchy, 12);
  EXPECT_EQ((*lines)[0].path, "/user/a:b");
  EXPECT_THAT((*lines)[1].controllers, ElementsAre("cpu", "cpuacct"));
  EXPECT_THAT((*lines)[3].controllers, IsEmpty());
  EXPECT_EQ((*lines)[3].path, "/user.slice");
}

TEST(ParseCgroups, NamesTheLineThatIsWrong) {
  for (const char* text : {"0::/\nx", "0::/\n5", "0::/\n5:memory", "0::/\n5:memory:relative"}) {
    EXPECT_THAT(parse_cgroups(text).status().message(), HasSubstr("line 2")) << text;
  }
}

TEST(ReadCgroups, OfThisProcess) {
  const auto lines = read_cgroups(::getpid());
  EXPECT_TRUE(lines.ok()) << lines.status();
}

TEST(FindField, TakesTheWholeFirstWord) {
  const char text[] = "inactive_anon 1\ninactive_file 4096\nMemAvailable:   12 kB\nbad x\n";
  EXPECT_EQ(find_field(text, "inactive_file"), 4096u);
  EXPECT_EQ(find_field(text, "MemAvailable:"), 12u);
  EXPECT_FALSE(find_field(text, "inactive").has_value());
  EXPECT_FALSE(find_field(text, "bad").has_value());
}

}  // namespace
}  // namespace stillpoint::procfs
