// What the SDK writes is what protobuf reads, and the other way round.
#include "sdk/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "helper/protocol/context.h"
#include "helper/protocol/protocol.pb.h"

namespace stillpoint::sdk {
namespace {

using protocol::wire::Writer;

protocol::Packet parsed(const Writer& writer) {
  protocol::Packet packet;
  EXPECT_TRUE(packet.ParseFromArray(writer.data(), static_cast<int>(writer.size())));
  return packet;
}

TEST(Messages, TheRequestIsWhatProtobufReads) {
  Settings settings;
  settings.directory = "ckpt \xfc";  // not UTF-8
  settings.keep_last = 300;
  settings.stop = true;
  settings.no_embed = true;
  settings.freeze_limit_ms = 2500;
  settings.job_id = "job";
  const int32_t own_fds[] = {5, 6, 700};
  const SdkThreadFields thread{4242, 0x7f0000001000, 4096, 0x7f0000003000, ~uint64_t{0}, own_fds, 3};
  std::vector<char> buffer(kMaxPacketBytes);
  Writer writer(buffer.data(), buffer.size());
  write_checkpoint_request(writer, settings, {{0x1000, 0x2000}, {0x7fff00000000, 1}}, thread, 5);
  ASSERT_TRUE(writer.ok());

  const protocol::Packet packet = parsed(writer);
  EXPECT_EQ(packet.request().version(), protocol::kProtocolVersion);
  const protocol::CheckpointRequest& request = packet.request().checkpoint();
  EXPECT_EQ(request.pid(), 0);
  EXPECT_TRUE(request.stop());
  EXPECT_EQ(request.keep_last(), 300u);
  EXPECT_TRUE(request.no_embed());
  EXPECT_EQ(request.deadline_ms(), 2500u);
  EXPECT_EQ(request.directory_name(), "ckpt ?");
  EXPECT_EQ(request.job_id(), "job");
  EXPECT_EQ(request.helper_fd(), 5u);
  ASSERT_EQ(request.excluded_size(), 2);
  EXPECT_EQ(request.excluded(1).start(), 0x7fff00000000u);
  EXPECT_EQ(request.excluded(0).length(), 0x2000u);
  EXPECT_EQ(request.sdk_thread().tid(), 4242);
  EXPECT_EQ(request.sdk_thread().scratch(), 0x7f0000001000u);
  EXPECT_EQ(request.sdk_thread().scratch_size(), 4096u);
  EXPECT_EQ(request.sdk_thread().context(), 0x7f0000003000u);
  EXPECT_EQ(request.sdk_thread().signal_mask(), ~uint64_t{0});
  EXPECT_THAT(request.sdk_thread().own_fds(), testing::ElementsAre(5, 6, 700));
  EXPECT_EQ(packet.SerializeAsString(), std::string(buffer.data(), writer.size())) << "byte for byte";
}

TEST(Messages, ARequestThatDoesNotFitIsNoticed) {
  std::vector<char> buffer(kMaxPacketBytes);
  Writer writer(buffer.data(), buffer.size());
  const std::vector<MemoryRange> many(20000, MemoryRange{0x7f0000000000, 0x1000});
  write_checkpoint_request(writer, Settings(), many, SdkThreadFields(), 3);
  EXPECT_FALSE(writer.ok());
}

TEST(Messages, ResultsAreWhatProtobufReads) {
  for (const int64_t value : {int64_t{0}, int64_t{4242}, int64_t{-38}, INT64_MIN, INT64_MAX}) {
    char buffer[32];
    Writer writer(buffer, sizeof buffer);
    write_in_call_result(writer, value);
    ASSERT_TRUE(writer.ok());
    const protocol::Packet packet = parsed(writer);
    EXPECT_TRUE(packet.has_in_call_result());
    EXPECT_EQ(packet.in_call_result().result(), value);
  }
}

Incoming read(const std::string& bytes, bool expected = true) {
  Incoming incoming;
  EXPECT_EQ(read_packet(bytes.data(), bytes.size(), incoming), expected);
  return incoming;
}

TEST(Messages, InCallsAreReadPackedAndUnpacked) {
  protocol::Packet packet;
  packet.mutable_in_call()->set_number(157);
  for (const uint64_t argument : {uint64_t{40}, ~uint64_t{0}, uint64_t{0}})
    packet.mutable_in_call()->add_arguments(argument);
  Incoming incoming = read(packet.SerializeAsString());
  EXPECT_EQ(incoming.kind, Incoming::Kind::kInCall);
  EXPECT_EQ(incoming.number, 157);
  EXPECT_FALSE(incoming.fork_snapshot);
  EXPECT_EQ(incoming.arguments[1], ~uint64_t{0});

  char buffer[64];
  Writer writer(buffer, sizeof buffer);
  const size_t mark = writer.open(4);
  writer.number(1, 186);
  writer.element(2, 7);
  writer.element(2, 0);
  writer.element(2, 9);
  writer.close(mark);
  ASSERT_EQ(parsed(writer).in_call().arguments_size(), 3);
  incoming = read(std::string(buffer, writer.size()));
  EXPECT_EQ(incoming.arguments[0], 7u);
  EXPECT_EQ(incoming.arguments[2], 9u);
}

TEST(Messages, TooManyArgumentsAreRefused) {
  protocol::Packet packet;
  for (int i = 0; i < 7; ++i) packet.mutable_in_call()->add_arguments(1);
  read(packet.SerializeAsString(), false);
}

TEST(Messages, RepliesAreReadWhole) {
  protocol::Packet packet;
  protocol::Reply& reply = *packet.mutable_reply();
  reply.set_code(9);
  reply.set_message("refused");
  reply.set_image("ckpt-00000042");
  reply.set_sequence(42);
  reply.add_notes("a note");
  reply.add_notes("another");
  for (int i = 0; i < 3; ++i) {
    protocol::Finding* finding = reply.mutable_findings()->add_findings();
    finding->set_code("SP-X");
    finding->set_object("fd " + std::to_string(i));
    finding->set_reason("reason");
    finding->set_remedy("remedy");
  }
  protocol::Statistics& statistics = *reply.mutable_statistics();
  statistics.set_pause_ns(1);
  statistics.set_freeze_ns(2);
  statistics.set_snapshot_ns(3);
  statistics.set_write_ns(4);
  statistics.set_total_ns(5);
  statistics.set_pages(6);
  statistics.set_bytes(7);
  statistics.set_image_bytes(8);
  statistics.set_method("stop");
  statistics.set_method_reason("no snapshot");
  const std::string bytes = packet.SerializeAsString();
  const Incoming incoming = read(bytes);
  ASSERT_EQ(incoming.kind, Incoming::Kind::kReply);
  ReplyContent content;
  ASSERT_TRUE(read_reply(incoming.reply, incoming.reply_size, content));
  EXPECT_EQ(content.code, 9);
  EXPECT_EQ(content.message, "refused");
  EXPECT_EQ(content.image, "ckpt-00000042");
  EXPECT_EQ(content.sequence, 42u);
  EXPECT_THAT(content.notes, testing::ElementsAre("a note", "another"));
  ASSERT_EQ(content.findings.size(), 3u);
  EXPECT_EQ(content.findings[2].object, "fd 2");
  EXPECT_EQ(content.findings[2].remedy, "remedy");
  const uint64_t numbers[] = {content.pause_ns, content.freeze_ns, content.snapshot_ns, content.write_ns,
                              content.total_ns, content.pages,     content.bytes,       content.image_bytes};
  EXPECT_THAT(numbers, testing::ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_EQ(content.method, "stop");
  EXPECT_EQ(content.method_reason, "no snapshot");
}

TEST(Messages, WhatAHelperMayNotSayIsRefused) {
  protocol::Packet packet;
  packet.mutable_request()->set_version(1);
  read(packet.SerializeAsString(), false);
  read("", false);
  read(std::string("\x1a\x05", 2), false);
}

TEST(Messages, MutatedPacketsDoNoHarm) {
  protocol::Packet packet;
  for (int i = 0; i < 4; ++i)
    packet.mutable_reply()->mutable_findings()->add_findings()->set_reason("because of " + std::to_string(i));
  packet.mutable_reply()->mutable_statistics()->set_method("snapshot");
  packet.mutable_reply()->add_notes("note");
  protocol::Packet call;
  for (int i = 0; i < 6; ++i) call.mutable_in_call()->add_arguments(~uint64_t{0} >> i);
  std::mt19937 random(99);
  for (const protocol::Packet& original : {packet, call}) {
    const std::string bytes = original.SerializeAsString();
    for (int round = 0; round < 30000; ++round) {
      std::vector<char> mutated(bytes.begin(), bytes.end());
      for (unsigned i = 0; i <= random() % 3; ++i) mutated[random() % mutated.size()] = static_cast<char>(random());
      mutated.resize(random() % 3 == 0 ? random() % (mutated.size() + 1) : mutated.size());
      Incoming incoming;
      ReplyContent content;
      if (read_packet(mutated.data(), mutated.size(), incoming) && incoming.kind == Incoming::Kind::kReply) {
        read_reply(incoming.reply, incoming.reply_size, content);
      }
    }
  }
}

}  // namespace
}  // namespace stillpoint::sdk
