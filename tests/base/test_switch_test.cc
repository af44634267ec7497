#include "helper/base/test_switch.h"

#include <gtest/gtest.h>
#include <stdlib.h>

namespace stillpoint {
namespace {

class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Environment() { ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
};

// The tests are always built with the switches: a build without them has no tests.
TEST(TestSwitch, NothingIsDisabledByDefault) {
  ::unsetenv("STILLPOINT_DISABLE");
  EXPECT_FALSE(feature_disabled("kcmp"));
  EXPECT_FALSE(feature_disabled(""));
}

TEST(TestSwitch, WholeNamesOnly) {
  const Environment environment("STILLPOINT_DISABLE", "pagemap_scan,kcmp,time_ns");
  EXPECT_TRUE(feature_disabled("pagemap_scan"));
  EXPECT_TRUE(feature_disabled("kcmp"));
  EXPECT_TRUE(feature_disabled("time_ns"));
  EXPECT_FALSE(feature_disabled("pagemap"));
  EXPECT_FALSE(feature_disabled("kcm"));
  EXPECT_FALSE(feature_disabled("kcmp,time_ns"));
}

TEST(TestSwitch, StageKillsOnlyWhenNamed) {
  const Environment environment("STILLPOINT_DIE_AT", "after_seize");
  die_if_stage("after_snapshot");
  die_if_stage("after");
  EXPECT_EXIT(die_if_stage("after_seize"), testing::KilledBySignal(SIGKILL), "");
}

TEST(TestSwitch, NoStageNoDeath) {
  ::unsetenv("STILLPOINT_DIE_AT");
  die_if_stage("after_seize");
  die_if_stage("");
}

}  // namespace
}  // namespace stillpoint
