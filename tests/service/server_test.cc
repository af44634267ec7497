#include "helper/service/server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "absl/time/clock.h"
#include "helper/protocol/channel.h"
#include "helper/protocol/context.h"

namespace stillpoint {
namespace {

using testing::HasSubstr;

protocol::Packet request_packet() {
  protocol::Packet packet;
  packet.mutable_request()->set_version(protocol::kProtocolVersion);
  return packet;
}

// Serves in a child, as the helper does, what `say` sends over the client's end.
template <typename Say>
absl::StatusOr<protocol::Reply> served(const Say& say, ServerOptions options = {}) {
  auto pair = Channel::pair();
  if (!pair.ok()) return pair.status();
  const pid_t server = ::fork();
  if (server == 0) {
    { const Channel ours = std::move(pair->first); }
    ::_exit(serve(std::move(pair->second), options).ok() ? 0 : 1);
  }
  pair->second.reset();
  say(pair->first);
  auto received = pair->first.receive(absl::Now() + absl::Seconds(60));
  ::waitpid(server, nullptr, 0);
  if (!received.ok()) return received.status();
  if (!received->packet.has_reply()) return absl::InternalError("no reply");
  return received->packet.reply();
}

absl::StatusOr<protocol::Reply> served(const protocol::Packet& packet, const std::vector<int>& fds = {},
                                       ServerOptions options = {}) {
  return served([&](const Channel& channel) { EXPECT_TRUE(channel.send(packet, fds).ok()); }, options);
}

TEST(Server, AnswersForeignMessagesWithAnError) {
  const auto reply = served([](const Channel& channel) { ::send(channel.fd(), "GET / HTTP/1.1", 14, 0); });
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(reply->message(), HasSubstr("malformed"));
}

TEST(Server, AnswersWhatIsNoRequest) {
  protocol::Packet packet;
  packet.mutable_in_call_result()->set_result(7);
  const auto reply = served(packet);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
}

TEST(Server, NamesBothVersions) {
  protocol::Packet packet = request_packet();
  packet.mutable_request()->set_version(77);
  packet.mutable_request()->mutable_check();
  const auto reply = served(packet);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->code(), static_cast<int>(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(reply->message(), HasSubstr("77"));
}

TEST(Server, AnswersARequestThatIsEmpty) {
  const auto reply = served(request_packet());
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->code(), static_cast<int>(absl::StatusCode::kUnimplemented));
}

TEST(Server, WantsADirectory) {
  protocol::Packet packet = request_packet();
  packet.mutable_request()->mutable_checkpoint();
  auto reply = served(packet);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(reply->message(), HasSubstr("0 fds"));
  const UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  reply = served(packet, {file.get()});
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(reply->message(), HasSubstr("no directory"));
}

TEST(Server, TakesAThreadFromItsOwnProcessOnly) {
  protocol::Packet packet = request_packet();
  protocol::CheckpointRequest& request = *packet.mutable_request()->mutable_checkpoint();
  request.set_pid(::getppid());
  request.mutable_sdk_thread()->set_tid(::getppid());
  const UniqueFd directory(::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto reply = served(packet, {directory.get()});
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->code(), static_cast<int>(absl::StatusCode::kPermissionDenied)) << reply->message();
}

TEST(Server, NamesAProcessThatIsNone) {
  protocol::Packet packet = request_packet();
  packet.mutable_request()->mutable_audit()->set_pid(0x3fffffff);
  const auto reply = served(packet);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(reply->message(), HasSubstr("1073741823"));
}

TEST(Server, AServiceDoesNotRestart) {
  protocol::Packet packet = request_packet();
  packet.mutable_request()->mutable_restart();
  ServerOptions options;
  options.mode = ServerMode::kService;
  const auto reply = served(packet, {}, options);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->code(), static_cast<int>(absl::StatusCode::kUnimplemented));
}

TEST(Server, ChecksTheMachine) {
  protocol::Packet packet = request_packet();
  packet.mutable_request()->mutable_check();
  const auto reply = served(packet);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->code(), 0) << reply->message();
  EXPECT_FALSE(reply->check_text().empty());
}

TEST(Server, DoesNotWaitForeverForARequest) {
  ServerOptions options;
  options.request_limit = absl::Milliseconds(20);
  const auto reply = served([](const Channel&) {}, options);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->code(), static_cast<int>(absl::StatusCode::kDeadlineExceeded));
}

}  // namespace
}  // namespace stillpoint
