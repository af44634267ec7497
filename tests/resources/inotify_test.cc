#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <utility>

#include "helper/resources/kinds.h"
#include "helper/resources/watched_path.h"
#include "tests/resources/round_trip.h"
#include "tests/resources/temporary_directory.h"

namespace stillpoint {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

// (watch descriptor, event bit) of all queued events.
std::set<std::pair<int, uint32_t>> events(int fd) {
  std::set<std::pair<int, uint32_t>> all;
  alignas(inotify_event) char buffer[4096];
  for (ssize_t n; (n = ::read(fd, buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      all.insert({event->wd, event->mask & IN_ALL_EVENTS});
      at += static_cast<ssize_t>(sizeof *event + event->len);
    }
  }
  return all;
}

class InotifyTest : public testing::TestWithParam<const char*> {
 protected:
  // The program works in the directory whose files it watches, so that a search finds them too.
  InotifyTest() {
    std::filesystem::current_path(directory_.path());
    write_file("file", "abc");
    std::filesystem::create_directory("sub");
    ::setenv("STILLPOINT_DISABLE", GetParam(), 1);
  }
  ~InotifyTest() override {
    ::unsetenv("STILLPOINT_DISABLE");
    std::filesystem::current_path(previous_);
  }
  std::filesystem::path previous_ = std::filesystem::current_path();
  TemporaryDirectory directory_;
  const int fd_ = ::inotify_init1(IN_NONBLOCK);
  RoundTrip trip_;
};

TEST_P(InotifyTest, WatchesKeepTheirDescriptors) {
  for (int i = 0; i < 5; ++i) {
    const int unused = ::inotify_add_watch(fd_, "file", IN_OPEN);
    ASSERT_EQ(::inotify_rm_watch(fd_, unused), 0);
  }
  const int on_file = ::inotify_add_watch(fd_, "file", IN_MODIFY);
  const int on_directory = ::inotify_add_watch(fd_, "sub", IN_CREATE | IN_EXCL_UNLINK);
  EXPECT_THAT(events(fd_), Contains(Pair(1, 0u)));  // drains IN_IGNORED
  ASSERT_EQ(on_file, 6);
  trip_.add(fd_);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_THAT(events(fd_), IsEmpty());
  EXPECT_THAT(trip_.restore_context.notes, IsEmpty());
  write_file("sub/new", "");
  EXPECT_THAT(events(fd_), ElementsAre(Pair(on_directory, IN_CREATE)));
  write_file("file", "xyz");
  EXPECT_THAT(events(fd_), ElementsAre(Pair(on_file, IN_MODIFY)));
  ASSERT_EQ(::inotify_rm_watch(fd_, on_file), 0);
}

TEST_P(InotifyTest, LostEventsAreNoted) {
  ASSERT_GT(::inotify_add_watch(fd_, "file", IN_MODIFY), 0);
  write_file("file", "changed");
  trip_.add(fd_);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_TRUE(trip_.noted("inotify events"));
}

TEST_P(InotifyTest, WatchedSymlinkIsNotFollowed) {
  ASSERT_EQ(::symlink("file", "link"), 0);
  const int wd = ::inotify_add_watch(fd_, "link", IN_DELETE_SELF | IN_ATTRIB | IN_DONT_FOLLOW);
  ASSERT_GT(wd, 0);
  trip_.add(fd_);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  ASSERT_EQ(::unlink("link"), 0);
  EXPECT_THAT(events(fd_), Contains(Pair(wd, IN_DELETE_SELF)));
}

TEST_P(InotifyTest, VanishedFileIsNamed) {
  ASSERT_GT(::inotify_add_watch(fd_, "file", IN_MODIFY), 0);
  trip_.add(fd_);
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  trip_.lose();
  std::filesystem::remove("file");
  EXPECT_THAT(std::string(trip_.restore().message()), testing::HasSubstr(directory_ / "file"));
}

TEST_P(InotifyTest, WatchOfADeletedFileIsAFinding) {
  write_file("deleted", "");
  const int keeps_it = ::open("deleted", O_RDONLY);
  ASSERT_GT(::inotify_add_watch(fd_, "deleted", IN_MODIFY), 0);
  std::filesystem::remove("deleted");
  trip_.add(fd_);
  EXPECT_THAT(codes(trip_.audit()), ElementsAre("SP-INOTIFY-PATH"));
  EXPECT_FALSE(trip_.dump().ok());
  ::close(keeps_it);
}

INSTANTIATE_TEST_SUITE_P(Ways, InotifyTest, testing::Values("", "open_by_handle", "inotify_setnextwd"),
                         [](const testing::TestParamInfo<const char*>& parameter) {
                           return *parameter.param == '\0' ? "Default" : std::string("Without_") + parameter.param;
                         });

}  // namespace
}  // namespace stillpoint
