#include "tools/duration.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace stillpoint::tools {
namespace {

TEST(Duration, TakesWhatPeopleWrite) {
  const std::pair<const char*, absl::Duration> cases[] = {
      {"90", absl::Seconds(90)},    {"90s", absl::Seconds(90)},  {"10m", absl::Minutes(10)},
      {"2h", absl::Hours(2)},       {"1d", absl::Hours(24)},     {"250ms", absl::Milliseconds(250)},
      {"1h30m", absl::Minutes(90)}, {"0", absl::ZeroDuration()},
  };
  for (const auto& [text, expected] : cases) {
    const auto parsed = parse_duration(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
    EXPECT_EQ(*parsed, expected) << text;
  }
}

TEST(Duration, RefusesTheRestByName) {
  for (const char* text : {"", "m", "-5", "5x", "5 m", "1.5h", "10min", "999999999999999999999", "99999999d", "h5"}) {
    const auto parsed = parse_duration(text);
    ASSERT_FALSE(parsed.ok()) << text << " gave " << absl::FormatDuration(*parsed);
    EXPECT_NE(parsed.status().message().find(text), std::string::npos);
  }
}

TEST(Signal, TakesNamesAndNumbers) {
  EXPECT_EQ(parse_signal("USR1").value(), SIGUSR1);
  EXPECT_EQ(parse_signal("SIGTERM").value(), SIGTERM);
  EXPECT_EQ(parse_signal("sigusr2").value(), SIGUSR2);
  EXPECT_EQ(parse_signal("10").value(), 10);
  EXPECT_EQ(parse_signal("RTMIN+2").value(), SIGRTMIN + 2);
  EXPECT_EQ(parse_signal("RTMIN").value(), SIGRTMIN);
}

TEST(Signal, RefusesTheRest) {
  for (const char* text : {"", "0", "-1", "65", "SIGNOPE", "RTMIN+99", "RTMIN-1", "RTMIN+x", "SIG"}) {
    EXPECT_FALSE(parse_signal(text).ok()) << text;
  }
}

TEST(Signal, HasAName) {
  EXPECT_EQ(signal_name(SIGSEGV), "SIGSEGV");
  EXPECT_EQ(signal_name(SIGRTMIN + 3), "SIGRTMIN+3");
  EXPECT_EQ(signal_name(99), "signal 99");
}

}  // namespace
}  // namespace stillpoint::tools
