#include "helper/base/nanoseconds.h"

#include <gtest/gtest.h>

namespace stillpoint {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

TEST(Nanoseconds, AreExactWhereTheyFit) {
  EXPECT_EQ(to_nanoseconds(timespec{1, 2}), 1'000'000'002);
  EXPECT_EQ(to_nanoseconds(timespec{-1, 999'999'999}), -1);
  EXPECT_EQ(to_nanoseconds(timeval{1, 2}), 1'000'002'000);
  EXPECT_EQ(to_nanoseconds(timespec{9'223'372'036, 854'775'807}), kMax);
}

TEST(Nanoseconds, StopAtTheEnds) {
  EXPECT_EQ(to_nanoseconds(timespec{9'223'372'036, 854'775'808}), kMax);
  EXPECT_EQ(to_nanoseconds(timespec{kMax, kMax}), kMax);
  EXPECT_EQ(to_nanoseconds(timespec{kMin, 0}), kMin);
  EXPECT_EQ(to_nanoseconds(timeval{kMax, 0}), kMax);
  EXPECT_EQ(to_nanoseconds(timeval{kMin, -1}), kMin);
  EXPECT_EQ(to_nanoseconds(timeval{0, kMax}), kMax);
}

}  // namespace
}  // namespace stillpoint
