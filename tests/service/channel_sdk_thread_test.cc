#include "helper/service/channel_sdk_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <thread>

#include "absl/time/clock.h"

namespace stillpoint {
namespace {

class ChannelSdkThreadTest : public testing::Test {
 protected:
  ChannelSdkThreadTest() {
    auto pair = Channel::pair();
    EXPECT_TRUE(pair.ok());
    ours_.emplace(std::move(pair->first));
    auto other = Channel::over(std::move(pair->second));
    EXPECT_TRUE(other.ok());
    theirs_.emplace(*std::move(other));
    thread_.set_tid(::getpid());
    thread_.set_scratch(0x1000);
    thread_.set_scratch_size(4096);
    thread_.set_context(0x3000);
    for (const int fd : {5, 6}) thread_.add_own_fds(fd);
  }

  absl::StatusOr<ChannelSdkThread> connect(uint32_t helper_fd = 0) {
    return ChannelSdkThread::from(thread_, ::getpid(), helper_fd, *ours_);
  }

  // The SDK's side: answers one message.
  std::thread answering(std::function<protocol::Packet(const ReceivedPacket&)> answer) {
    return std::thread([this, answer] {
      auto received = theirs_->receive(absl::Now() + absl::Seconds(30));
      ASSERT_TRUE(received.ok());
      EXPECT_TRUE(theirs_->send(answer(*received)).ok());
    });
  }

  static protocol::Packet result(int64_t value) {
    protocol::Packet packet;
    packet.mutable_in_call_result()->set_result(value);
    return packet;
  }

  std::optional<Channel> ours_, theirs_;
  protocol::SdkThread thread_;
};

TEST_F(ChannelSdkThreadTest, AsksAndAnswers) {
  auto connection = connect(7);
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_THAT(connection->own_fds(), testing::ElementsAre(5, 6, 7));
  std::thread sdk = answering([](const ReceivedPacket& received) {
    EXPECT_EQ(received.packet.in_call().number(), SYS_getitimer);
    EXPECT_THAT(received.packet.in_call().arguments(), testing::ElementsAre(1, ~uint64_t{0}));
    return result(-14);
  });
  const absl::StatusOr<int64_t> value = connection->call(SYS_getitimer, {1, ~uint64_t{0}});
  sdk.join();
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(*value, -14);
}

TEST_F(ChannelSdkThreadTest, HandsTheControlFdOver) {
  auto connection = connect();
  ASSERT_TRUE(connection.ok());
  auto control = Channel::pair();
  ASSERT_TRUE(control.ok());
  std::thread sdk = answering([](const ReceivedPacket& received) {
    EXPECT_TRUE(received.packet.in_call().fork_snapshot());
    EXPECT_EQ(received.fds.size(), 1u);
    return result(4242);
  });
  const absl::StatusOr<pid_t> pid = connection->fork_snapshot(std::move(control->second));
  sdk.join();
  ASSERT_TRUE(pid.ok()) << pid.status();
  EXPECT_EQ(*pid, 4242);
}

TEST_F(ChannelSdkThreadTest, RefusesImpossiblePids) {
  auto connection = connect();
  ASSERT_TRUE(connection.ok());
  for (const int64_t value : {int64_t{-11}, int64_t{0}, int64_t{1} << 40, INT64_MIN}) {
    auto control = Channel::pair();
    std::thread sdk = answering([value](const ReceivedPacket&) { return result(value); });
    EXPECT_FALSE(connection->fork_snapshot(std::move(control->second)).ok()) << value;
    sdk.join();
  }
}

TEST_F(ChannelSdkThreadTest, SaysWhenTheThreadIsGoneOrTalksNonsense) {
  auto connection = connect();
  ASSERT_TRUE(connection.ok());
  std::thread sdk = answering([](const ReceivedPacket&) {
    protocol::Packet packet;
    packet.mutable_request()->set_version(1);
    return packet;
  });
  EXPECT_TRUE(absl::IsInvalidArgument(connection->call(SYS_gettid, {}).status()));
  sdk.join();
  theirs_.reset();
  EXPECT_TRUE(absl::IsUnavailable(connection->call(SYS_gettid, {}).status()));
}

TEST_F(ChannelSdkThreadTest, RefusesThreadsThatCannotBe) {
  thread_.set_tid(1);
  EXPECT_FALSE(::getpid() != 1 && connect().ok()) << "another process's thread";
  thread_.set_tid(-5);
  EXPECT_FALSE(connect().ok());
  thread_.set_tid(::getpid());
  thread_.set_scratch_size(100);
  EXPECT_FALSE(connect().ok());
}

}  // namespace
}  // namespace stillpoint
