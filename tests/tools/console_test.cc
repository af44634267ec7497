#include "tools/console.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/checkpoint_job.h"
#include "tools/json_writer.h"

namespace stillpoint::tools {
namespace {

using ::testing::HasSubstr;

TEST(Format, BytesAndTimes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(uint64_t{512} << 20), "512 MiB");
  EXPECT_EQ(format_bytes(~uint64_t{0}), "16 EiB");
  EXPECT_EQ(format_nanoseconds(250000), "250 us");
  EXPECT_EQ(format_nanoseconds(12000000), "12.0 ms");
  EXPECT_EQ(format_nanoseconds(1300000000), "1.30 s");
  EXPECT_EQ(format_time(1700000000000000000), "2023-11-14 22:13:20 UTC");
}

TEST(Printable, NothingReachesTheTerminalThatItObeys) {
  EXPECT_EQ(printable("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(printable("a\x1b[2Jb"), "a\\x1b[2Jb");
  EXPECT_EQ(printable("\xff\x80"), "\\xff\\x80");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");  // CSI in C1
  EXPECT_EQ(printable(absl::string_view("\0", 1)), "\\x00");
}

TEST(Json, EscapesAndSeparates) {
  JsonWriter json;
  json.begin_object().key("a\"b").string("x\n\\\xff").key("list").begin_array().number(-1).boolean(true).end_array();
  json.key("empty").begin_object().end_object().key("hex").hex(0x7fff0000).end_object();
  EXPECT_EQ(json.take(), R"({"a\"b":"x\u000a\\\ufffd","list":[-1,true],"empty":{},"hex":"0x7fff0000"})");
}

TEST(Json, Utf8) {
  EXPECT_EQ(utf8_sequence_length("\xe2\x82\xac"), 3u);
  EXPECT_EQ(utf8_sequence_length("\xf0\x9f\x98\x80"), 4u);
  for (const char* bad : {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xf8\x88\x80\x80\x80"}) {
    EXPECT_EQ(utf8_sequence_length(bad), 0u);
  }
}

protocol::FindingList two_findings() {
  protocol::FindingList findings;
  for (const char* code : {"SP-ONE", "SP-TWO"}) {
    protocol::Finding& finding = *findings.add_findings();
    finding.set_code(code);
    finding.set_object("fd 3");
    finding.set_reason("why not");
    finding.set_remedy("how to");
  }
  return findings;
}

TEST(Findings, SurviveInAStatusAndAreAllShown) {
  const absl::Status status = with_findings(absl::FailedPreconditionError("refused"), two_findings());
  EXPECT_EQ(findings_in(status).findings_size(), 2);
  const std::string text = format_findings(findings_in(status));
  const std::string line = failure_line(status);
  for (const char* part : {"SP-ONE", "SP-TWO", "fd 3", "why not", "how to"}) {
    EXPECT_THAT(text, HasSubstr(part));
    EXPECT_THAT(line, HasSubstr(part));
  }
  EXPECT_EQ(line.find('\n'), std::string::npos);
}

TEST(Findings, NoneInOtherStatuses) {
  EXPECT_EQ(findings_in(absl::InternalError("x")).findings_size(), 0);
  absl::Status damaged = absl::InternalError("x");
  damaged.SetPayload(kFindingsUrl, absl::Cord("\xff\xff\xff"));
  EXPECT_EQ(findings_in(damaged).findings_size(), 0);
  EXPECT_THAT(failure_line(absl::InternalError("two\nlines")), HasSubstr("two lines"));
}

}  // namespace
}  // namespace stillpoint::tools
