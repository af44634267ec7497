// fdinfo text, printable names, the table of kinds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "helper/resources/fdinfo.h"
#include "helper/resources/kinds.h"
#include "helper/resources/open_file_kind.h"
#include "helper/resources/printable.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(PrintableTest, KeepsNamesAndShowsBytes) {
  EXPECT_EQ(printable("/data/run 1.lock"), "/data/run 1.lock");
  EXPECT_EQ(printable("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa7"), "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa7");
  EXPECT_EQ(printable("a\nb\x7f"), "a\\x0ab\\x7f");
  EXPECT_EQ(printable("\xe9t\xe9"), "\\xe9t\\xe9");                  // Latin-1
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  EXPECT_EQ(printable("\xe2\x82"), "\\xe2\\x82");                    // cut short
}

OpenFileView view_with(const std::string& fdinfo) {
  OpenFileView view;
  view.number = 7;
  view.link = "/data/x";
  view.fdinfo = fdinfo;
  return view;
}

TEST(FdinfoTest, Values) {
  const OpenFileView view = view_with("pos:\t-12\nflags:\t02100002\neventfd-count:               1f\ntfd: 1\ntfd: 2\n");
  EXPECT_EQ(fdinfo_value(view, "flags").value(), "02100002");
  EXPECT_EQ(fdinfo_signed(view, "pos").value(), -12);
  EXPECT_EQ(fdinfo_unsigned(view, "flags", 8).value(), 02100002u);
  EXPECT_EQ(fdinfo_unsigned(view, "eventfd-count", 16).value(), 0x1fu);
  EXPECT_THAT(fdinfo_lines(view, "tfd:"), ElementsAre("tfd: 1", "tfd: 2"));
}

TEST(FdinfoTest, ErrorsNameKeyAndFile) {
  const OpenFileView view = view_with("pos:\t12x\nflags:\t99999999999999999999999\n");
  EXPECT_THAT(std::string(fdinfo_value(view, "ticks").status().message()), HasSubstr("fd 7 /data/x"));
  EXPECT_THAT(std::string(fdinfo_value(view, "ticks").status().message()), HasSubstr("ticks"));
  EXPECT_THAT(std::string(fdinfo_signed(view, "pos").status().message()), HasSubstr("12x"));
  EXPECT_FALSE(fdinfo_unsigned(view, "flags", 10).ok()) << "overflow";
  EXPECT_FALSE(fdinfo_unsigned(view, "flags", 8).ok()) << "not octal";
}

TEST(FdinfoTest, Words) {
  const std::string line = "tfd:        5 events: 80000019 data:                f  pos:0 ino:79ff sdev:f";
  EXPECT_EQ(word_value(line, "tfd"), "5");
  EXPECT_EQ(word_value(line, "data"), "f");
  EXPECT_EQ(word_value(line, "ino"), "79ff");
  EXPECT_EQ(word_value(line, "sdev"), "f");
  EXPECT_EQ(word_value(line, "dev"), "");
  EXPECT_EQ(word_value("wd:", "wd"), "");
  EXPECT_EQ(word_value("", "wd"), "");
}

TEST(DescribeTest, AllNumbers) {
  OpenFileView view;
  view.number = 7;
  view.numbers = {7, 8};
  view.link = "pipe:[1234]";
  EXPECT_EQ(describe(view), "fd 7,8 pipe:[1234]");
}

TEST(KindsTest, NamesAreUniqueAndFound) {
  std::set<absl::string_view> names;
  for (const OpenFileKind* kind : open_file_kinds()) {
    EXPECT_TRUE(names.insert(kind->name()).second) << kind->name();
    EXPECT_EQ(open_file_kind(kind->name()), kind);
  }
  EXPECT_EQ(open_file_kind("no such kind"), nullptr);
}

}  // namespace
}  // namespace stillpoint
