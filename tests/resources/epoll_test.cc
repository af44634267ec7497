#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <map>

#include "tests/resources/round_trip.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

void watch(int epoll, int fd, uint32_t events, uint64_t data) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = data;
  ASSERT_EQ(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
}

// data -> events of all that is ready now.
std::map<uint64_t, uint32_t> ready(int epoll) {
  epoll_event events[16];
  const int n = ::epoll_wait(epoll, events, 16, 0);
  std::map<uint64_t, uint32_t> result;
  for (int i = 0; i < n; ++i) result[events[i].data.u64] = events[i].events;
  return result;
}

void signal_event(int fd) {
  const uint64_t one = 1;
  ASSERT_EQ(::write(fd, &one, sizeof one), 8);
}

class EpollTest : public testing::Test {
 protected:
  RoundTrip trip_;
  const int epoll_ = ::epoll_create1(0);
  const int first_ = ::eventfd(0, EFD_NONBLOCK);
  const int second_ = ::eventfd(0, EFD_NONBLOCK);
};

TEST_F(EpollTest, InterestListComesBack) {
  watch(epoll_, first_, EPOLLIN, 0xfeedfacecafebeef);
  watch(epoll_, second_, EPOLLIN | EPOLLET, 2);
  for (const int fd : {epoll_, first_, second_}) trip_.add(fd);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_THAT(ready(epoll_), IsEmpty());
  signal_event(first_);
  signal_event(second_);
  EXPECT_THAT(ready(epoll_), UnorderedElementsAre(Pair(0xfeedfacecafebeef, EPOLLIN), Pair(2, EPOLLIN)));
  EXPECT_THAT(ready(epoll_), ElementsAre(Pair(0xfeedfacecafebeef, EPOLLIN))) << "edge-triggered means once";
}

TEST_F(EpollTest, EntriesAreKnownByTheirOldNumbers) {
  watch(epoll_, first_, EPOLLIN, 1);
  trip_.add(epoll_);
  trip_.add(first_);
  trip_.add(second_);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  epoll_event event = {};
  event.events = EPOLLOUT;
  event.data.u64 = 9;
  ASSERT_EQ(::epoll_ctl(epoll_, EPOLL_CTL_MOD, first_, &event), 0);
  EXPECT_THAT(ready(epoll_), ElementsAre(Pair(9, EPOLLOUT)));
  ASSERT_EQ(::epoll_ctl(epoll_, EPOLL_CTL_DEL, first_, nullptr), 0);
  EXPECT_THAT(ready(epoll_), IsEmpty());
}

TEST_F(EpollTest, OneFileWatchedUnderTwoNumbers) {
  const int twin = ::dup(first_);
  watch(epoll_, first_, EPOLLIN, 1);
  watch(epoll_, twin, EPOLLOUT, 2);
  trip_.add(epoll_);
  trip_.add({first_, twin});
  trip_.add(second_);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  signal_event(first_);
  EXPECT_THAT(ready(epoll_), UnorderedElementsAre(Pair(1, EPOLLIN), Pair(2, EPOLLOUT)));
}

TEST_F(EpollTest, NestedInstances) {
  const int outer = ::epoll_create1(0);
  watch(epoll_, first_, EPOLLIN, 1);
  watch(outer, epoll_, EPOLLIN, 2);
  for (const int fd : {outer, epoll_, first_, second_}) trip_.add(fd);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_THAT(ready(outer), IsEmpty());
  signal_event(first_);
  EXPECT_THAT(ready(outer), ElementsAre(Pair(2, EPOLLIN)));
  EXPECT_THAT(ready(epoll_), ElementsAre(Pair(1, EPOLLIN)));
}

TEST_F(EpollTest, OneShotEntryFiresOnce) {
  watch(epoll_, first_, EPOLLIN | EPOLLONESHOT, 1);
  trip_.add(epoll_);
  trip_.add(first_);
  trip_.add(second_);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  signal_event(first_);
  EXPECT_THAT(ready(epoll_), ElementsAre(Pair(1, EPOLLIN)));
  EXPECT_THAT(ready(epoll_), IsEmpty());
}

TEST_F(EpollTest, FileOutsideTheImageIsAFinding) {
  watch(epoll_, first_, EPOLLIN, 1);
  trip_.add(epoll_);
  EXPECT_THAT(codes(trip_.audit()), ElementsAre("SP-EPOLL-EXTERNAL"));
  EXPECT_FALSE(trip_.dump().ok());
  ::close(first_);
  ::close(second_);
}

TEST_F(EpollTest, NumberThatIsClosedOrReusedIsAFinding) {
  watch(epoll_, first_, EPOLLIN, 1);
  const int twin = ::dup(first_);
  ASSERT_EQ(::dup2(second_, first_), first_);  // the entry stays, for the file that `twin` keeps open
  trip_.add(epoll_);
  trip_.add(twin);
  trip_.add({first_, second_});
  EXPECT_THAT(codes(trip_.audit()), ElementsAre("SP-EPOLL-STALE"));
  EXPECT_FALSE(trip_.dump().ok());
  ::close(first_);
  EXPECT_THAT(codes(trip_.audit()), ElementsAre("SP-EPOLL-STALE"));
}

TEST_F(EpollTest, WithoutKcmpOtherInodesAreStillTold) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  watch(epoll_, pipe[0], EPOLLIN, 1);
  const int twin = ::dup(pipe[0]);
  ASSERT_EQ(::dup2(second_, pipe[0]), pipe[0]);
  trip_.add(epoll_);
  trip_.add(twin);
  trip_.add(pipe[1]);
  trip_.add({pipe[0], second_});
  ::setenv("STILLPOINT_DISABLE", "kcmp", 1);
  const Findings findings = trip_.audit();
  ::unsetenv("STILLPOINT_DISABLE");
  EXPECT_THAT(codes(findings), ElementsAre("SP-EPOLL-STALE"));
  ::close(first_);
}

}  // namespace
}  // namespace stillpoint
