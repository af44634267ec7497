#include "helper/procfs/scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace stillpoint::procfs {
namespace {

using testing::HasSubstr;

TEST(Scan, NumbersMustFit) {
  absl::string_view text = "18446744073709551615 rest";
  uint64_t wide = 0;
  EXPECT_TRUE(take_number(text, wide));
  EXPECT_EQ(wide, ~uint64_t{0});
  EXPECT_EQ(text, " rest");
  text = "18446744073709551616";
  EXPECT_FALSE(take_number(text, wide));
  EXPECT_EQ(text, "18446744073709551616");
  uint32_t narrow = 0;
  EXPECT_FALSE(whole_number("4294967296", narrow));
  int32_t number = 0;
  EXPECT_TRUE(whole_number("-2147483648", number));
  EXPECT_FALSE(whole_number("2147483648", number));
}

TEST(Scan, NumbersHaveNoSignBlankOrPrefix) {
  uint64_t number = 0;
  EXPECT_FALSE(whole_number("", number));
  EXPECT_FALSE(whole_number("-1", number));
  EXPECT_FALSE(whole_number("+1", number));
  EXPECT_FALSE(whole_number(" 1", number));
  EXPECT_FALSE(whole_number("1 ", number));
  EXPECT_FALSE(whole_number("0x10", number, 16));
  EXPECT_TRUE(whole_number("Ff", number, 16));
  EXPECT_EQ(number, 255u);
}

TEST(Scan, WordsAndDelimiters) {
  absl::string_view text = "  one\ttwo  ";
  EXPECT_EQ(take_word(text), "one");
  EXPECT_EQ(take_word(text), "two");
  EXPECT_EQ(take_word(text), "");
  text = "key:value:more";
  EXPECT_EQ(take_until(text, ':'), "key");
  EXPECT_EQ(text, "value:more");
  EXPECT_EQ(take_until(text, '/'), "value:more");
  EXPECT_TRUE(text.empty());
  EXPECT_EQ(trim_blanks(" \t a b \t"), "a b");
  EXPECT_EQ(trim_blanks(" \t "), "");
}

TEST(Scan, LinesAreCounted) {
  Lines lines("a\n\nb");
  absl::string_view line;
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "a");
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "");
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "b");
  EXPECT_EQ(lines.number(), 3u);
  EXPECT_FALSE(lines.next(line));
}

TEST(Scan, OctalEscapes) {
  EXPECT_EQ(unescape_octal("plain", "\n"), "plain");
  EXPECT_EQ(unescape_octal("a\\012b\\040c", "\n"), "a\nb\\040c");
  EXPECT_EQ(unescape_octal("a\\012b\\040c\\134", " \n\\"), "a\nb c\\");
  EXPECT_EQ(unescape_octal("\\134012", "\n\\"), "\\012");  // not undone twice
  EXPECT_EQ(unescape_octal("\\", "\n"), "\\");
  EXPECT_EQ(unescape_octal("\\01", "\n"), "\\01");
  EXPECT_EQ(unescape_octal("\\018", "\n"), "\\018");
  EXPECT_EQ(unescape_octal("\\777", "\n\xff"), "\\777");
}

TEST(Scan, ErrorsAreReadable) {
  const std::string hostile = std::string("\x1b[2J\0\n", 6) + std::string(5000, 'x');
  const std::string message(malformed("maps", 7, "address", hostile).message());
  EXPECT_THAT(message, HasSubstr("maps line 7: address expected: \"\\x1b[2J\\x00\\n"));
  EXPECT_LT(message.size(), 250u);
}

}  // namespace
}  // namespace stillpoint::procfs
