#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "helper/procfs/process_files.h"
#include "tests/procfs/kernel_texts.h"
#include "tests/procfs/waiting_child.h"

namespace stillpoint::procfs {
namespace {

using testing::HasSubstr;

TEST(ParseMountinfo, EveryShape) {
  const auto mounts = parse_mountinfo(kMountinfo);
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  ASSERT_EQ(mounts->size(), 6u);
  EXPECT_EQ((*mounts)[0].id, 22);
  EXPECT_EQ((*mounts)[0].parent_id, 1);
  EXPECT_EQ((*mounts)[0].device, makedev(254, 0));
  EXPECT_EQ((*mounts)[0].filesystem, "ext4");
  EXPECT_EQ((*mounts)[0].source, "/dev/vda1");
  EXPECT_EQ((*mounts)[1].root, "/sub volume");
  EXPECT_EQ((*mounts)[1].mount_point, "/mnt/with blank\ttab\nline\\slash");
  EXPECT_EQ((*mounts)[1].filesystem, "btrfs");
  EXPECT_EQ((*mounts)[2].source, "");
  EXPECT_EQ((*mounts)[2].filesystem, "tmpfs");
  EXPECT_EQ((*mounts)[3].source, "u@host:/#dir");
  EXPECT_EQ((*mounts)[4].root, "net:[4026532008]");
  EXPECT_EQ((*mounts)[5].mount_point, "/gone//deleted");
}

TEST(ParseMountinfo, RefusesMalformed) {
  for (const char* line :
       {"", "x", "1", "1 2", "1 2 3", "1 2 0:3", "1 2 0:3 / /m", "1 2 0:3 / /m rw", "1 2 0:3 / /m rw -",
        "1 2 0:3 / /m rw - ext4", "99999999999 2 0:3 / /m rw - a b c", "1 2 0-3 / /m rw - a b c"}) {
    const std::string text = absl::StrCat("22 1 254:0 / / rw - ext4 /dev/vda1 rw\n", line, "\n");
    EXPECT_THAT(std::string(parse_mountinfo(text).status().message()), HasSubstr("mountinfo line 2")) << line;
  }
}

TEST(ReadMountinfo, KnowsTheFilesystemOfProc) {
  const auto mounts = read_mountinfo(::getpid());
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  struct stat stat = {};
  ASSERT_EQ(::stat("/proc", &stat), 0);
  bool found = false;
  for (const Mount& mount : *mounts) {
    if (mount.mount_point == "/proc" && mount.filesystem == "proc") found = mount.device == stat.st_dev;
  }
  EXPECT_TRUE(found);
}

// A mount point whose name needs every escape, in a mount namespace of the child's own.
TEST(ReadMountinfo, OddMountPoint) {
  char directory[] = "/tmp/mountinfo.XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::string point = absl::StrCat(directory, "/a b\tc\nd\\e#f");
  ASSERT_EQ(::mkdir(point.c_str(), 0755), 0);
  const WaitingChild child([&] {
    const bool own = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    return own && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           ::mount("a #source", point.c_str(), "tmpfs", 0, "size=64k") == 0;
  });
  const auto mounts = child.ready() ? read_mountinfo(child.pid()) : absl::UnavailableError("no mount namespace");
  ::rmdir(point.c_str());
  ::rmdir(directory);
  if (!child.ready()) GTEST_SKIP() << "unshare(CLONE_NEWNS), alone or with CLONE_NEWUSER, or mount(2) is not permitted";
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  bool found = false;
  for (const Mount& mount : *mounts) {
    if (mount.mount_point == point) found = mount.source == "a #source" && mount.filesystem == "tmpfs";
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace stillpoint::procfs
