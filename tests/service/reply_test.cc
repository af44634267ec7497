#include "helper/service/reply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "helper/dump/dump.h"
#include "helper/protocol/channel.h"

namespace stillpoint {
namespace {

TEST(Reply, CarriesCodeMessageAndFindings) {
  Findings findings;
  findings.add({"SP-A", "fd 3", "why", "what to do"});
  findings.add({"SP-B", "fd 4", "why", "what to do"});
  const protocol::Reply reply = reply_of(findings_status(findings));
  EXPECT_EQ(reply.code(), static_cast<int>(absl::StatusCode::kFailedPrecondition));
  ASSERT_EQ(reply.findings().findings_size(), 2);
  EXPECT_EQ(reply.findings().findings(1).code(), "SP-B");
  EXPECT_EQ(reply.findings().findings(0).remedy(), "what to do");
  EXPECT_EQ(reply_of(absl::OkStatus()).code(), 0);
}

TEST(Reply, IsUtf8WhateverFilesAreCalled) {
  protocol::Reply reply;
  reply.set_message("open of /data/\xfc: ENOENT");
  reply.add_notes("\xff\xfe");
  reply.mutable_findings()->add_findings()->set_object("fd 3 \xe2\x82");
  protocol::Packet parsed;
  ASSERT_TRUE(parsed.ParseFromString(packet_of(reply).SerializeAsString()));
  EXPECT_EQ(parsed.reply().message(), "open of /data/?: ENOENT");
}

TEST(Reply, IsCutToWhatAPacketHolds) {
  protocol::Reply reply;
  reply.set_message(std::string(300000, 'm'));
  for (int i = 0; i < 2000; ++i) {
    reply.add_notes(std::string(100, 'n'));
    reply.mutable_findings()->add_findings()->set_reason(std::string(200, 'r'));
  }
  const protocol::Packet packet = packet_of(reply);
  EXPECT_LE(packet.ByteSizeLong(), kMaxPacketBytes);
  EXPECT_GT(packet.reply().findings().findings_size(), 0);
  EXPECT_THAT(packet.reply().message(), testing::HasSubstr("more do not fit"));
}

}  // namespace
}  // namespace stillpoint
