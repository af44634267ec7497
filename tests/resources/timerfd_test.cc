#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "helper/resources/kinds.h"
#include "helper/resources/timerfd.pb.h"
#include "tests/resources/round_trip.h"

namespace stillpoint {
namespace {

using ::testing::IsEmpty;

itimerspec times(time_t seconds, long nanoseconds, time_t interval_seconds = 0, long interval_nanoseconds = 0) {
  return {.it_interval = {interval_seconds, interval_nanoseconds}, .it_value = {seconds, nanoseconds}};
}

int make_timer(int clock, int flags, const itimerspec& setting) {
  const int fd = ::timerfd_create(clock, TFD_NONBLOCK);
  EXPECT_EQ(::timerfd_settime(fd, flags, &setting, nullptr), 0);
  return fd;
}

bool becomes_readable(int fd) {
  pollfd poll_fd = {fd, POLLIN, 0};
  return ::poll(&poll_fd, 1, 30'000) == 1;
}

uint64_t expirations(int fd) {
  uint64_t count = 0;
  return ::read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

TEST(TimerfdTest, ArmedTimerCountsOn) {
  const int fd = make_timer(CLOCK_MONOTONIC, 0, times(1000, 0, 7, 5));
  RoundTrip trip;
  trip.add(fd);
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  itimerspec now = {};
  ASSERT_EQ(::timerfd_gettime(fd, &now), 0);
  EXPECT_GT(now.it_value.tv_sec, 800);
  EXPECT_LE(now.it_value.tv_sec, 1000);
  EXPECT_EQ(now.it_interval.tv_sec, 7);
  EXPECT_EQ(now.it_interval.tv_nsec, 5);
  EXPECT_EQ(expirations(fd), 0u);
}

TEST(TimerfdTest, DueTimerFiresAfterTheRestore) {
  const int fd = make_timer(CLOCK_BOOTTIME, 0, times(0, 300'000'000));
  RoundTrip trip;
  trip.add(fd);
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  ASSERT_TRUE(becomes_readable(fd));
  EXPECT_EQ(expirations(fd), 1u);
}

TEST(TimerfdTest, DisarmedTimerStaysDisarmed) {
  const int fd = make_timer(CLOCK_MONOTONIC, 0, times(0, 0));
  RoundTrip trip;
  trip.add(fd);
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  itimerspec now = {};
  ASSERT_EQ(::timerfd_gettime(fd, &now), 0);
  EXPECT_EQ(now.it_value.tv_sec, 0);
  EXPECT_EQ(now.it_value.tv_nsec, 0);
}

TEST(TimerfdTest, UnreadExpirationOfAOneShotTimer) {
  const int fd = make_timer(CLOCK_MONOTONIC, 0, times(0, 1));
  ASSERT_TRUE(becomes_readable(fd));
  RoundTrip trip;
  trip.add(fd);
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  ASSERT_TRUE(becomes_readable(fd));
  EXPECT_EQ(expirations(fd), 1u);
  EXPECT_EQ(expirations(fd), 0u);
}

// Dumps a timer that has expired `count` times at least without anybody reading it.
void dump_with_ticks(RoundTrip& trip, int fd, uint64_t count) {
  trip.add(fd);
  ASSERT_EQ(trip.dump(), absl::OkStatus());
  resources::TimerfdDetail detail;
  ASSERT_TRUE(detail.ParseFromString(trip.message(1).detail()));
  EXPECT_GE(detail.ticks(), count);
}

TEST(TimerfdTest, UnreadExpirationsOfAPeriodicTimer) {
  const int fd = make_timer(CLOCK_MONOTONIC, 0, times(0, 1, 0, 1'000'000));
  ASSERT_TRUE(becomes_readable(fd));
  const timespec while_it_expires = {0, 20'000'000};
  ::nanosleep(&while_it_expires, nullptr);
  RoundTrip trip;
  dump_with_ticks(trip, fd, 10);
  trip.lose();
  ASSERT_EQ(trip.restore(), absl::OkStatus());
  EXPECT_GE(expirations(fd), 10u);
  ASSERT_TRUE(becomes_readable(fd)) << "the timer does not go on";
}

TEST(TimerfdTest, UnreadExpirationsWithoutSetTicks) {
  const int fd = make_timer(CLOCK_MONOTONIC, 0, times(0, 1, 0, 1'000'000));
  ASSERT_TRUE(becomes_readable(fd));
  const timespec while_it_expires = {0, 20'000'000};
  ::nanosleep(&while_it_expires, nullptr);
  RoundTrip trip;
  dump_with_ticks(trip, fd, 10);
  trip.lose();
  ::setenv("STILLPOINT_DISABLE", "timerfd_ticks", 1);
  const absl::Status status = trip.restore();
  ::unsetenv("STILLPOINT_DISABLE");
  ASSERT_EQ(status, absl::OkStatus());
  EXPECT_TRUE(trip.noted("come back as one"));
  ASSERT_TRUE(becomes_readable(fd));
  EXPECT_GE(expirations(fd), 1u);
}

TEST(TimerfdTest, DateOnTheRealtimeClockStaysThatDate) {
  timespec now = {};
  ASSERT_EQ(::clock_gettime(CLOCK_REALTIME, &now), 0);
  const int fd = make_timer(CLOCK_REALTIME, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, times(now.tv_sec + 5000, 0));
  RoundTrip trip;
  trip.add(fd);
  ASSERT_EQ(trip.dump(), absl::OkStatus());
  resources::TimerfdDetail detail;
  ASSERT_TRUE(detail.ParseFromString(trip.message(1).detail()));
  EXPECT_TRUE(detail.absolute());
  EXPECT_TRUE(detail.cancel_on_set());
  EXPECT_NEAR(static_cast<double>(detail.value_ns()) / 1e9, static_cast<double>(now.tv_sec + 5000), 2.0);
  trip.lose();
  ASSERT_EQ(trip.restore(), absl::OkStatus());
  itimerspec left = {};
  ASSERT_EQ(::timerfd_gettime(fd, &left), 0);
  EXPECT_GT(left.it_value.tv_sec, 4500);
}

TEST(TimerfdTest, DateThatHasPassedIsDueAtOnce) {
  timespec now = {};
  ASSERT_EQ(::clock_gettime(CLOCK_REALTIME, &now), 0);
  const timespec date = {now.tv_sec + 1, now.tv_nsec};
  const int fd = make_timer(CLOCK_REALTIME, TFD_TIMER_ABSTIME, times(date.tv_sec, date.tv_nsec));
  RoundTrip trip;
  trip.add(fd);
  ASSERT_EQ(trip.dump(), absl::OkStatus());
  trip.lose();
  ASSERT_EQ(::clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &date, nullptr), 0);
  ASSERT_EQ(trip.restore(), absl::OkStatus());
  ASSERT_TRUE(becomes_readable(fd));
  EXPECT_EQ(expirations(fd), 1u);
}

TEST(TimerfdTest, WithoutPidfdGetfd) {
  const int fd = make_timer(CLOCK_MONOTONIC, 0, times(1000, 0));
  RoundTrip trip;
  trip.add_without_copy(fd);
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  itimerspec now = {};
  ASSERT_EQ(::timerfd_gettime(fd, &now), 0);
  EXPECT_GT(now.it_value.tv_sec, 800);
}

}  // namespace
}  // namespace stillpoint
