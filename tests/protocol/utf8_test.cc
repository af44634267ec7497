#include "helper/protocol/utf8.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "helper/protocol/protocol.pb.h"

namespace stillpoint::protocol {
namespace {

std::string replaced(std::string text) {
  replace_invalid_utf8(text.data(), text.size());
  return text;
}

TEST(Utf8, KeepsWhatIsUtf8) {
  for (const std::string text :
       {"", "plain", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(replaced(text), text);
  }
}

TEST(Utf8, ReplacesWhatIsNot) {
  EXPECT_EQ(replaced("a\xfc"
                     "b"),
            "a?b");                       // Latin-1
  EXPECT_EQ(replaced("\xc0\xaf"), "??");  // overlong
  EXPECT_EQ(replaced("\xe0\x80\x80"), "???");
  EXPECT_EQ(replaced("\xed\xa0\x80"), "???");       // surrogate
  EXPECT_EQ(replaced("\xf4\x90\x80\x80"), "????");  // above U+10FFFF
  EXPECT_EQ(replaced("x\xe2\x82"), "x??");          // cut
}

TEST(Utf8, ProtobufParsesWhateverIsLeft) {
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    std::string text(random() % 12, '\0');
    for (char& c : text) c = static_cast<char>(random() % 4 == 0 ? 'a' : random());
    Reply reply;
    reply.set_message(replaced(text));
    Reply parsed;
    ASSERT_TRUE(parsed.ParseFromString(reply.SerializeAsString())) << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace stillpoint::protocol
