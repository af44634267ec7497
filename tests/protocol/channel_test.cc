#include "helper/protocol/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "absl/time/clock.h"

namespace stillpoint {
namespace {

struct Ends {
  Channel ours, theirs;
};

Ends make_ends() {
  auto pair = Channel::pair();
  EXPECT_TRUE(pair.ok()) << pair.status();
  auto other = Channel::over(std::move(pair->second));
  EXPECT_TRUE(other.ok()) << other.status();
  return {std::move(pair->first), *std::move(other)};
}

absl::Time soon() { return absl::Now() + absl::Seconds(30); }

TEST(Channel, CarriesMessagesFdsAndCredentials) {
  const Ends ends = make_ends();
  int pipe_fds[2];
  ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
  const UniqueFd read_end(pipe_fds[0]), write_end(pipe_fds[1]);
  protocol::Packet packet;
  packet.mutable_request()->mutable_checkpoint()->set_directory_name("ckpt");
  ASSERT_TRUE(ends.theirs.send(packet, {write_end.get()}).ok());

  auto received = ends.ours.receive(soon());
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(received->packet.request().checkpoint().directory_name(), "ckpt");
  EXPECT_EQ(received->sender.pid, ::getpid());
  EXPECT_EQ(received->sender.uid, ::getuid());
  EXPECT_EQ(received->sender.gid, ::getgid());
  ASSERT_EQ(received->fds.size(), 1u);
  EXPECT_NE(::fcntl(received->fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(::write(received->fds[0].get(), "x", 1), 1);
  char byte = 0;
  ASSERT_EQ(::read(read_end.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
}

// Trap 16: SO_PEERCRED would name the parent.
TEST(Channel, NamesTheForkedChildThatSpeaks) {
  auto pair = Channel::pair();
  ASSERT_TRUE(pair.ok());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto channel = Channel::over(std::move(pair->second));
    protocol::Packet packet;
    packet.mutable_in_call_result()->set_result(1);
    ::_exit(channel.ok() && channel->send(packet).ok() ? 0 : 1);
  }
  auto received = pair->first.receive(soon());
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(received->sender.pid, child);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Channel, SaysThatThePeerIsGone) {
  auto pair = Channel::pair();
  ASSERT_TRUE(pair.ok());
  pair->second.reset();
  EXPECT_TRUE(absl::IsUnavailable(pair->first.receive(soon()).status()));
  EXPECT_TRUE(absl::IsUnavailable(pair->first.send(protocol::Packet())));
}

TEST(Channel, KeepsDeadlines) {
  const Ends ends = make_ends();
  EXPECT_TRUE(absl::IsDeadlineExceeded(ends.ours.receive(absl::Now() + absl::Milliseconds(20)).status()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(ends.ours.receive(absl::InfinitePast()).status()));
}

TEST(Channel, RefusesMalformedAndOversizedPackets) {
  const Ends ends = make_ends();
  const std::string garbage("\xff\xff\xff\xff");
  ASSERT_EQ(::send(ends.theirs.fd(), garbage.data(), garbage.size(), 0), static_cast<ssize_t>(garbage.size()));
  EXPECT_TRUE(absl::IsInvalidArgument(ends.ours.receive(soon()).status()));

  const std::string large(kMaxPacketBytes + 1, '\0');
  ASSERT_EQ(::send(ends.theirs.fd(), large.data(), large.size(), 0), static_cast<ssize_t>(large.size()));
  EXPECT_TRUE(absl::IsInvalidArgument(ends.ours.receive(soon()).status()));

  protocol::Packet packet;
  packet.mutable_reply()->set_message(std::string(kMaxPacketBytes, 'x'));
  EXPECT_TRUE(absl::IsInvalidArgument(ends.ours.send(packet)));
}

TEST(Channel, ClosesFdsOfRefusedPackets) {
  const Ends ends = make_ends();
  int pipe_fds[2];
  ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd read_end(pipe_fds[0]);
  UniqueFd write_end(pipe_fds[1]);
  iovec data{const_cast<char*>("\xff\xff"), 2};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = write_end.get();
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  ASSERT_EQ(::sendmsg(ends.theirs.fd(), &message, 0), 2);
  write_end.reset();
  EXPECT_FALSE(ends.ours.receive(soon()).ok());
  char byte = 0;
  EXPECT_EQ(::read(read_end.get(), &byte, 1), 0) << "the passed write end is still open";
}

TEST(Channel, DoesNotWaitForAPeerThatDoesNotRead) {
  const Ends ends = make_ends();
  protocol::Packet packet;
  packet.mutable_event()->set_note(std::string(4096, 'p'));
  absl::Status status;
  for (int i = 0; i < 100000 && status.ok(); ++i) status = ends.ours.send_if_room(packet);
  EXPECT_FALSE(status.ok());
  EXPECT_FALSE(absl::IsUnavailable(status)) << status;
}

TEST(Channel, TakesOnlySeqpacketSockets) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd other(ends[1]);
  EXPECT_TRUE(absl::IsInvalidArgument(Channel::over(UniqueFd(ends[0])).status()));
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd write_end(ends[1]);
  EXPECT_FALSE(Channel::over(UniqueFd(ends[0])).ok());
}

}  // namespace
}  // namespace stillpoint
