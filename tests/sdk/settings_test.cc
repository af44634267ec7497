#include "sdk/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sdk/test_support.h"

namespace stillpoint::sdk {
namespace {

TEST(Settings, TakeTheProgramsOptions) {
  stillpoint_options_t options = STILLPOINT_OPTIONS_INIT;
  options.flags = STILLPOINT_STOP | STILLPOINT_NO_EMBED;
  options.keep_last = 3;
  options.freeze_limit_ms = 500;
  options.helper = "/opt/helper";
  options.job_id = "job 7";
  const auto settings = effective_settings("ckpt", &options);
  ASSERT_TRUE(settings.ok());
  EXPECT_EQ(settings->directory, "ckpt");
  EXPECT_TRUE(settings->stop);
  EXPECT_TRUE(settings->no_embed);
  EXPECT_EQ(settings->keep_last, 3u);
  EXPECT_EQ(settings->freeze_limit_ms, 500u);
  EXPECT_EQ(settings->helper, "/opt/helper");
  EXPECT_EQ(settings->job_id, "job 7");
  EXPECT_FALSE(settings->off);
}

TEST(Settings, TheEnvironmentOverridesTheCode) {
  const Environment dir("STILLPOINT_DIR", "/elsewhere"), keep("STILLPOINT_KEEP", "9"), log("STILLPOINT_LOG", "-"),
      off("STILLPOINT_OFF", "1"), helper("STILLPOINT_HELPER", "unix:/run/h.sock");
  stillpoint_options_t options = STILLPOINT_OPTIONS_INIT;
  options.keep_last = 3;
  options.helper = "/opt/helper";
  const auto settings = effective_settings("ckpt", &options);
  ASSERT_TRUE(settings.ok());
  EXPECT_EQ(settings->directory, "/elsewhere");
  EXPECT_EQ(settings->keep_last, 9u);
  EXPECT_EQ(settings->log, "-");
  EXPECT_TRUE(settings->off);
  EXPECT_EQ(settings->helper, "unix:/run/h.sock");
}

TEST(Settings, OffIsOffWhenZeroOrEmpty) {
  for (const char* value : {"0", ""}) {
    const Environment off("STILLPOINT_OFF", value);
    EXPECT_FALSE(effective_settings("d", nullptr)->off) << "'" << value << "'";
  }
}

TEST(Settings, NameTheVariableThatMakesNoSense) {
  for (const char* value : {"three", "-1", "3x", "99999999999999999999", "4294967296", " 3"}) {
    const Environment keep("STILLPOINT_KEEP", value);
    const auto settings = effective_settings("d", nullptr);
    ASSERT_FALSE(settings.ok()) << value;
    EXPECT_THAT(settings.status().message(), testing::HasSubstr("STILLPOINT_KEEP"));
  }
}

TEST(Settings, TakeOlderAndNewerStructures) {
  // An older program knows flags and keep_last only.
  stillpoint_options_t older = STILLPOINT_OPTIONS_INIT;
  older.struct_size = offsetof(stillpoint_options_t, freeze_limit_ms);
  older.keep_last = 4;
  older.freeze_limit_ms = 77;
  older.helper = reinterpret_cast<const char*>(8);  // not there for the older program: must not be read
  const auto settings = effective_settings("d", &older);
  ASSERT_TRUE(settings.ok());
  EXPECT_EQ(settings->keep_last, 4u);
  EXPECT_EQ(settings->freeze_limit_ms, 0u);

  struct {
    stillpoint_options_t known = STILLPOINT_OPTIONS_INIT;
    char more[64] = {1};
  } newer;
  newer.known.struct_size = sizeof newer;
  newer.known.keep_last = 5;
  EXPECT_EQ(effective_settings("d", &newer.known)->keep_last, 5u);

  stillpoint_options_t unset{};
  EXPECT_FALSE(effective_settings("d", &unset).ok());
  stillpoint_options_t unknown_flag = STILLPOINT_OPTIONS_INIT;
  unknown_flag.flags = 1u << 31;
  EXPECT_FALSE(effective_settings("d", &unknown_flag).ok());
}

}  // namespace
}  // namespace stillpoint::sdk
