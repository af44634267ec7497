#include "tools/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stillpoint::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class OptionsTest : public ::testing::Test {
 protected:
  OptionsTest() : options_("test [OPTION]... DIR", "Tests.", "Details.\n") {
    options_.flag("stop", stop_, "stop it")
        .number("pid", "P", 1, 100, pid_, "the process")
        .text("dir", "DIR", dir_, "where")
        .duration("wait", "TIME", wait_, "how long");
  }
  bool stop_ = false;
  int64_t pid_ = 0;
  std::string dir_;
  absl::Duration wait_;
  Options options_;
};

TEST_F(OptionsTest, TakesBothSpellings) {
  const auto operands = options_.parse({"--pid", "42", "x", "--dir=/tmp/a=b", "--stop", "--wait", "2m", "y"});
  ASSERT_TRUE(operands.ok()) << operands.status();
  EXPECT_THAT(*operands, ElementsAre("x", "y"));
  EXPECT_EQ(pid_, 42);
  EXPECT_EQ(dir_, "/tmp/a=b");
  EXPECT_TRUE(stop_);
  EXPECT_EQ(wait_, absl::Minutes(2));
}

TEST_F(OptionsTest, ARequiredOptionIsGuessedFromTheOperands) {
  int64_t required = 0;
  options_.number("job", "N", 1, 9000, required, "the job").required();
  EXPECT_EQ(options_.parse({"4242", "ckpt"}).status().message(), "--job is missing: did you mean --job 4242?");
  EXPECT_EQ(options_.parse({"ckpt"}).status().message(), "--job is missing");
  EXPECT_EQ(options_.parse({"--", "ckpt"}).status().message(), "--job is missing");
  EXPECT_TRUE(options_.parse({"--job", "7", "4242"}).ok());
  EXPECT_TRUE(options_.parse({"--job=7", "--", "4242"}).ok());
  EXPECT_TRUE(absl::IsCancelled(options_.parse({"--help"}).status()));
}

TEST_F(OptionsTest, DoubleDashEndsOptions) {
  const auto operands = options_.parse({"--stop", "--", "--pid", "7"});
  ASSERT_TRUE(operands.ok());
  EXPECT_THAT(*operands, ElementsAre("--pid", "7"));
  EXPECT_EQ(pid_, 0);
}

TEST_F(OptionsTest, StopsAtTheOperandOfAnotherProgram) {
  options_.stop_at_operand();
  const auto operands = options_.parse({"--stop", "./app", "--pid", "-x"});
  ASSERT_TRUE(operands.ok());
  EXPECT_THAT(*operands, ElementsAre("./app", "--pid", "-x"));
}

TEST_F(OptionsTest, ErrorsNameTheOption) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--nope"}, "--nope"},
      {{"-x"}, "-x"},
      {{"--pid"}, "--pid P"},
      {{"--pid", "0"}, "1 to 100"},
      {{"--pid", "4x"}, "\"4x\""},
      {{"--stop=1"}, "--stop"},
      {{"--dir="}, "--dir"},
      {{"--wait", "soon"}, "--wait"},
      {{"--pid", "99999999999999999999"}, "--pid"},
  };
  for (const auto& [arguments, text] : cases) {
    const auto parsed = options_.parse(arguments);
    ASSERT_TRUE(absl::IsInvalidArgument(parsed.status())) << arguments[0];
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(text));
  }
}

TEST_F(OptionsTest, HelpNamesEveryOption) {
  EXPECT_TRUE(absl::IsCancelled(options_.parse({"--stop", "--help"}).status()));
  const std::string help = options_.help();
  for (const char* text :
       {"Usage: stillpoint test", "--stop", "--pid P", "--dir DIR", "--wait TIME", "--help", "Details."}) {
    EXPECT_THAT(help, HasSubstr(text));
  }
}

TEST_F(OptionsTest, OneDashAloneIsAnOperand) {
  const auto operands = options_.parse({"-"});
  ASSERT_TRUE(operands.ok());
  EXPECT_THAT(*operands, ElementsAre("-"));
}

}  // namespace
}  // namespace stillpoint::tools
