#include "helper/protocol/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "helper/protocol/protocol.pb.h"

namespace stillpoint::protocol::wire {
namespace {

constexpr uint64_t kInteresting[] = {0,          1,          127,         128,          16383,      16384,
                                     0x7fffffff, 0xffffffff, 0x100000000, ~uint64_t{0}, 1ull << 63, 1ull << 56};

std::string written(const Writer& writer) {
  return std::string(reinterpret_cast<const char*>(writer.data()), writer.size());
}

TEST(WireWriter, WritesNumbersAsProtobufDoes) {
  for (const uint64_t value : kInteresting) {
    MemoryRange range;
    range.set_start(value);
    range.set_length(value / 3);
    char buffer[64];
    Writer writer(buffer, sizeof buffer);
    writer.number(1, value);
    writer.number(2, value / 3);
    ASSERT_TRUE(writer.ok());
    EXPECT_EQ(written(writer), range.SerializeAsString()) << value;
  }
}

TEST(WireWriter, WritesNegativeNumbersAsProtobufDoes) {
  for (const int64_t value : {int64_t{-1}, int64_t{-22}, INT64_MIN, INT64_MAX, int64_t{0}}) {
    Packet packet;
    packet.mutable_in_call_result()->set_result(value);
    char buffer[64];
    Writer writer(buffer, sizeof buffer);
    const size_t mark = writer.open(5);
    writer.signed_number(1, value);
    writer.close(mark);
    EXPECT_EQ(written(writer), packet.SerializeAsString()) << value;
  }
}

TEST(WireWriter, NestsMessagesOfEveryLengthAsProtobufDoes) {
  for (const size_t length :
       {size_t{1}, size_t{100}, size_t{127}, size_t{128}, size_t{16383}, size_t{16384}, size_t{70000}}) {
    Packet packet;
    const std::string text(length, 'x');
    packet.mutable_reply()->mutable_findings()->add_findings()->set_object(text);
    packet.mutable_reply()->set_image("ckpt-00000001");
    std::vector<char> buffer(length + 100);
    Writer writer(buffer.data(), buffer.size());
    const size_t reply = writer.open(3);
    const size_t list = writer.open(3);
    const size_t finding = writer.open(1);
    writer.bytes(2, text.data(), text.size());
    writer.close(finding);
    writer.close(list);
    writer.text(4, "ckpt-00000001");
    writer.close(reply);
    ASSERT_TRUE(writer.ok());
    EXPECT_TRUE(written(writer) == packet.SerializeAsString()) << length;
  }
}

TEST(WireWriter, SaysWhenTheBufferIsTooSmallAndWritesNothingBeyondIt) {
  const std::string text(60, 'y');
  for (size_t capacity = 0; capacity < 70; ++capacity) {
    std::string buffer(capacity + 8, '\x5a');
    Writer writer(buffer.data(), capacity);
    const size_t mark = writer.open(2);
    writer.number(1, 300);
    writer.bytes(3, text.data(), text.size());
    writer.close(mark);
    EXPECT_EQ(writer.ok(), capacity >= 2 + 3 + 62) << capacity;
    EXPECT_EQ(buffer.substr(capacity), std::string(8, '\x5a')) << "written beyond " << capacity;
  }
}

TEST(WireReader, ReadsWhatProtobufWrote) {
  SdkThread thread;
  thread.set_tid(4242);
  thread.set_signal_mask(~uint64_t{0});
  for (const int fd : {3, 4, -1}) thread.add_own_fds(fd);
  const std::string bytes = thread.SerializeAsString();

  Reader reader(bytes.data(), bytes.size());
  std::vector<int32_t> fds;
  uint64_t tid = 0, mask = 0;
  for (Field field; reader.next(field);) {
    if (field.number == 1) tid = field.value;
    if (field.number == 5) mask = field.value;
    if (field.number == 7) {
      Reader values(field);
      for (uint64_t value = 0; values.next_packed(value);) fds.push_back(static_cast<int32_t>(value));
      EXPECT_FALSE(values.failed());
    }
  }
  EXPECT_FALSE(reader.failed());
  EXPECT_EQ(tid, 4242u);
  EXPECT_EQ(mask, ~uint64_t{0});
  EXPECT_THAT(fds, testing::ElementsAre(3, 4, -1));
}

TEST(WireReader, RefusesWhatIsMalformed) {
  const std::string cases[] = {
      std::string("\x08", 1),                                               // a tag without its value
      std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12),  // a number of eleven bytes
      std::string("\x12\x05"
                  "abc",
                  5),                                                   // a string longer than the message
      std::string("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11),  // a length of 2^64-1
      std::string("\x00\x01", 2),                                       // field 0
      std::string("\x0b", 1),
      std::string("\x0c", 1),          // groups
      std::string("\x0f\x00", 2),      // wire type 7
      std::string("\x09\x01\x02", 3),  // seven bytes missing
      std::string("\x0d\x01", 2),
  };
  for (const std::string& bytes : cases) {
    Reader reader(bytes.data(), bytes.size());
    Field field;
    while (reader.next(field)) {
    }
    EXPECT_TRUE(reader.failed()) << testing::PrintToString(bytes);
    EXPECT_FALSE(reader.next(field)) << "a failed reader stays failed";
  }
}

// Goes through a message and all that could be a message inside it. Every byte handed out must lie inside `bytes`.
void walk(const uint8_t* begin, const uint8_t* end, Reader reader, int depth) {
  for (Field field; reader.next(field);) {
    if (field.type != Type::kBytes) continue;
    ASSERT_LE(begin, field.data);
    ASSERT_LE(field.data + field.size, end);
    Reader packed(field);
    for (uint64_t value = 0; packed.next_packed(value);) {
    }
    if (depth < 8) walk(begin, end, Reader(field), depth + 1);
  }
}

TEST(WireReader, StaysInsideMutatedMessages) {
  Packet packet;
  InCall& call = *packet.mutable_in_call();
  call.set_number(13);
  for (const uint64_t value : kInteresting) call.add_arguments(value);
  Packet reply_packet;
  reply_packet.mutable_reply()->set_message("refused");
  for (int i = 0; i < 3; ++i)
    reply_packet.mutable_reply()->mutable_findings()->add_findings()->set_remedy("release it");
  std::mt19937 random(20240501);
  for (const Packet& original : {packet, reply_packet}) {
    const std::string bytes = original.SerializeAsString();
    for (int round = 0; round < 20000; ++round) {
      // An exact heap block, so that a sanitizer sees any step outside.
      std::vector<uint8_t> mutated(bytes.begin(), bytes.end());
      for (unsigned i = 0; i <= random() % 4; ++i) mutated[random() % mutated.size()] = static_cast<uint8_t>(random());
      mutated.resize(random() % (mutated.size() + 1));
      walk(mutated.data(), mutated.data() + mutated.size(), Reader(mutated.data(), mutated.size()), 0);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace stillpoint::protocol::wire
