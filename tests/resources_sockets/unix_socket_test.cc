#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "tests/resources_sockets/socket_room.h"

namespace stillpoint {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string type_label(int type) {
  return type == SOCK_STREAM ? "Stream" : type == SOCK_DGRAM ? "Datagram" : "Seqpacket";
}

class UnixPair : public ::testing::TestWithParam<std::tuple<int, bool>> {
 protected:
  int type() const { return std::get<0>(GetParam()); }
  void SetUp() override { room_.backwards = std::get<1>(GetParam()); }
  void enter_pair() {
    auto [first, second] = make_socketpair(type());
    a_ = room_.enter(std::move(first));
    b_ = room_.enter(std::move(second));
  }
  SocketRoom room_;
  uint64_t a_ = 0, b_ = 0;
};

TEST_P(UnixPair, TalksBothWays) {
  enter_pair();
  room_.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_EQ(::send(room_.restored(a_), "from a", 6, 0), 6);
  ASSERT_EQ(::send(room_.restored(b_), "from b", 6, 0), 6);
  EXPECT_EQ(receive(room_.restored(a_)), "from b");
  EXPECT_EQ(receive(room_.restored(b_)), "from a");
  EXPECT_THAT(room_.restore_context.notes, ElementsAre(HasSubstr("SO_PEERCRED")));
}

TEST_P(UnixPair, QueuesOfBothDirectionsComeBackInOrder) {
  enter_pair();
  for (const char* text : {"one", "two", "three"}) {
    ASSERT_GT(::send(room_.fd(a_), text, strlen(text), 0), 0);
  }
  ASSERT_EQ(::send(room_.fd(b_), "answer", 6, 0), 6);
  room_.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  if (type() == SOCK_STREAM) {
    EXPECT_EQ(receive(room_.restored(b_)), "onetwothree");
  } else {
    for (const char* text : {"one", "two", "three"}) EXPECT_EQ(receive(room_.restored(b_)), text);
  }
  EXPECT_EQ(receive(room_.restored(b_)), "<EAGAIN>");
  EXPECT_EQ(receive(room_.restored(a_)), "answer");
  EXPECT_EQ(receive(room_.restored(a_)), "<EAGAIN>");
}

TEST_P(UnixPair, ShutdownOfOneDirectionIsKept) {
  enter_pair();
  ASSERT_EQ(::send(room_.fd(a_), "last words", 10, 0), 10);
  ASSERT_EQ(::shutdown(room_.fd(a_), SHUT_WR), 0);
  room_.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(receive(room_.restored(b_)), "last words");
  if (type() != SOCK_DGRAM) {
    EXPECT_EQ(receive(room_.restored(b_)), "");
  }
  EXPECT_EQ(::send(room_.restored(a_), "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
  ASSERT_EQ(::send(room_.restored(b_), "other way", 9, 0), 9);
  EXPECT_EQ(receive(room_.restored(a_)), "other way");
}

TEST_P(UnixPair, AnEndWhosePartnerIsClosedKeepsItsQueue) {
  auto [first, second] = make_socketpair(type());
  ASSERT_EQ(::send(second.get(), "farewell", 8, 0), 8);
  second.reset();
  a_ = room_.enter(std::move(first));
  room_.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(receive(room_.restored(a_)), "farewell");
  EXPECT_EQ(receive(room_.restored(a_)), type() == SOCK_DGRAM ? "<EAGAIN>" : "");
  EXPECT_EQ(::send(room_.restored(a_), "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, type() == SOCK_DGRAM ? ECONNREFUSED : EPIPE);
}

TEST_P(UnixPair, FullQueuesAndBigMessagesFit) {
  enter_pair();
  const std::string block(type() == SOCK_STREAM ? 65536 : 30000, 'x');
  size_t sent = 0;
  while (true) {
    const ssize_t size = ::send(room_.fd(a_), block.data(), block.size(), MSG_DONTWAIT);
    if (size < 0) break;
    sent += static_cast<size_t>(size);
  }
  ASSERT_EQ(errno, EAGAIN);
  ASSERT_GT(sent, block.size());
  room_.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  size_t received = 0;
  for (std::string got = receive(room_.restored(b_)); got != "<EAGAIN>"; got = receive(room_.restored(b_))) {
    received += got.size();
    if (type() != SOCK_STREAM) {
      EXPECT_EQ(got, block);
    }
  }
  EXPECT_EQ(received, sent);
}

TEST_P(UnixPair, StatusFlagsAndOptionsAreKept) {
  enter_pair();
  set_int(room_.fd(a_), SOL_SOCKET, SO_PASSCRED, 1);
  set_int(room_.fd(a_), SOL_SOCKET, SO_SNDBUF, 20000);
  ASSERT_EQ(::fcntl(room_.fd(a_), F_SETFL, O_NONBLOCK), 0);
  room_.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(get_int(room_.restored(a_), SOL_SOCKET, SO_PASSCRED), 1);
  EXPECT_EQ(get_int(room_.restored(b_), SOL_SOCKET, SO_PASSCRED), 0);
  EXPECT_EQ(get_int(room_.restored(a_), SOL_SOCKET, SO_SNDBUF), 40000);
  EXPECT_EQ(::fcntl(room_.restored(a_), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_EQ(local_address(room_.restored(a_)).unix_name(), "");
  EXPECT_EQ(local_address(room_.restored(b_)).unix_name(), "");
}

TEST_P(UnixPair, CredentialsOfWaitingMessagesKeepTheirOwner) {
  enter_pair();
  set_int(room_.fd(b_), SOL_SOCKET, SO_PASSCRED, 1);
  ASSERT_EQ(::send(room_.fd(a_), "signed", 6, 0), 6);
  room_.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  char data[16];
  alignas(cmsghdr) char control[256];
  iovec part = {data, sizeof data};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ASSERT_EQ(::recvmsg(room_.restored(b_), &header, MSG_DONTWAIT), 6);
  const cmsghdr* first = CMSG_FIRSTHDR(&header);
  ASSERT_NE(first, nullptr);
  ASSERT_EQ(first->cmsg_type, SCM_CREDENTIALS);
  ucred credentials;
  memcpy(&credentials, CMSG_DATA(first), sizeof credentials);
  EXPECT_EQ(credentials.uid, ::getuid());
  EXPECT_EQ(credentials.gid, ::getgid());
  EXPECT_EQ(local_address(room_.restored(a_)).unix_name(), "");
}

TEST_P(UnixPair, PassedDescriptorsAreRefused) {
  enter_pair();
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  char byte = 'x';
  iovec part = {&byte, 1};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  const int passed = STDERR_FILENO;
  memcpy(CMSG_DATA(rights), &passed, sizeof passed);
  ASSERT_EQ(::sendmsg(room_.fd(a_), &header, 0), 1);
  EXPECT_THAT(codes(room_.audit(b_)), ElementsAre("SP-UNIX-SCM"));
  EXPECT_FALSE(room_.dump_one(b_).ok());
  EXPECT_THAT(room_.audit(a_), IsEmpty());
}

TEST_P(UnixPair, APartnerOutsideTheImageIsRefusedOrInherited) {
  auto [inside, outside] = make_socketpair(type());
  struct stat peer = {};
  ASSERT_EQ(::fstat(outside.get(), &peer), 0);
  a_ = room_.enter(std::move(inside));
  const std::vector<Finding> findings = room_.audit(a_);
  ASSERT_THAT(codes(findings), ElementsAre("SP-UNIX-EXTERNAL"));
  EXPECT_THAT(findings[0].reason,
              AllOf(HasSubstr(absl::StrCat("inode ", peer.st_ino)), HasSubstr(absl::StrCat("pid ", ::getpid()))));
  EXPECT_FALSE(room_.dump_one(a_).ok());

  room_.dump_context.inherited_numbers.insert(room_.fd(a_));
  room_.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(room_.restore_context.asked_inherited.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Types, UnixPair, ::testing::Combine(::testing::Values(SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET), ::testing::Bool()),
    [](const auto& param) {
      return type_label(std::get<0>(param.param)) + (std::get<1>(param.param) ? "SecondFirst" : "FirstFirst");
    });

class UnixListener : public ::testing::TestWithParam<int> {
 protected:
  UniqueFd make_listener(const SocketAddress& address) {
    UniqueFd fd = make_socket(AF_UNIX, GetParam());
    bind_to(fd.get(), address);
    EXPECT_EQ(::listen(fd.get(), 5), 0);
    return fd;
  }
};

TEST_P(UnixListener, AcceptsAgainUnderItsAbstractName) {
  const SocketAddress address = unix_address(absl::StrCat(std::string(1, '\0'), "stillpoint-test-", ::getpid()));
  SocketRoom room;
  const uint64_t id = room.enter(make_listener(address));
  const uint64_t number = static_cast<uint64_t>(room.fd(id));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  const UniqueFd client = make_socket(AF_UNIX, GetParam());
  connect_to(client.get(), address);
  const UniqueFd server(::accept(room.restored(id), nullptr, nullptr));
  ASSERT_TRUE(server.valid());
  ASSERT_EQ(::send(client.get(), "hello", 5, 0), 5);
  EXPECT_EQ(receive_soon(server.get()), "hello");
  // The process listens once more itself, so that SO_PEERCRED shows it to its clients.
  ASSERT_EQ(room.restore_context.calls.size(), 1u);
  EXPECT_EQ(room.restore_context.calls[0].number, SYS_listen);
  EXPECT_EQ(room.restore_context.calls[0].arguments[0], number);
  EXPECT_EQ(room.restore_context.calls[0].arguments[1], 5u);
}

TEST_P(UnixListener, PendingConnectionsAreRefused) {
  ScratchDirectory directory;
  const SocketAddress address = unix_address(directory.path() + "/s");
  SocketRoom room;
  const uint64_t id = room.enter(make_listener(address));
  EXPECT_THAT(room.audit(id), IsEmpty());
  UniqueFd client = make_socket(AF_UNIX, GetParam());
  connect_to(client.get(), address);
  EXPECT_THAT(codes(room.audit(id)), ElementsAre("SP-UNIX-PENDING"));
  EXPECT_FALSE(room.dump_one(id).ok());
}

TEST_P(UnixListener, PendingConnectionsOfTheImageWaitAgainInTheirOrder) {
  for (const bool backwards : {false, true}) {
    ScratchDirectory directory;
    const SocketAddress address = unix_address(directory.path() + "/s");
    SocketRoom room;
    room.backwards = backwards;
    UniqueFd listening = make_listener(address);
    std::vector<UniqueFd> fds;
    for (int i = 0; i < 3; ++i) {
      fds.push_back(make_socket(AF_UNIX, GetParam()));
      bind_to(fds.back().get(), unix_address(directory.path() + "/client" + std::to_string(i)));
    }
    std::vector<uint64_t> clients(fds.size());
    for (const size_t i : {2u, 0u, 1u}) connect_to(fds[i].get(), address);
    for (size_t i = 0; i < fds.size(); ++i) clients[i] = room.enter(std::move(fds[i]));
    const uint64_t listener = room.enter(std::move(listening));
    room.round_trip();
    ASSERT_FALSE(HasFatalFailure());
    for (const size_t i : {2u, 0u, 1u}) {
      const UniqueFd server(::accept(room.restored(listener), nullptr, nullptr));
      ASSERT_TRUE(server.valid());
      ASSERT_EQ(::send(server.get(), "welcome", 7, MSG_NOSIGNAL), 7);
      EXPECT_EQ(receive(room.restored(clients[i])), "welcome");
    }
  }
}

TEST_P(UnixListener, WhatAPendingClientHasSentIsInTheWay) {
  ScratchDirectory directory;
  SocketRoom room;
  UniqueFd listening = make_listener(unix_address(directory.path() + "/s"));
  UniqueFd client = make_socket(AF_UNIX, GetParam());
  connect_to(client.get(), unix_address(directory.path() + "/s"));
  ASSERT_EQ(::send(client.get(), "early", 5, 0), 5);
  room.enter(std::move(listening));
  EXPECT_THAT(codes(room.audit(room.enter(std::move(client)))), ElementsAre("SP-UNIX-PENDING"));
}

TEST_P(UnixListener, ConnectionsWithinTheImageKeepTheirNames) {
  for (const bool client_first : {false, true}) {
    ScratchDirectory directory;
    const SocketAddress address = unix_address(directory.path() + "/s");
    SocketRoom room;
    const uint64_t listener = room.enter(make_listener(address));
    UniqueFd client_fd = make_socket(AF_UNIX, GetParam());
    connect_to(client_fd.get(), address);
    UniqueFd server_fd(::accept(room.fd(listener), nullptr, nullptr));
    ASSERT_EQ(::send(client_fd.get(), "request", 7, 0), 7);
    const auto enter_client = [&] { return room.enter(std::move(client_fd)); };
    const uint64_t client = client_first ? enter_client() : 0;
    const uint64_t server = room.enter(std::move(server_fd));
    const uint64_t second_client = client_first ? client : enter_client();
    room.round_trip();
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_EQ(local_address(room.restored(server)).text(), address.text());
    const absl::StatusOr<SocketAddress> peer = SocketAddress::peer(room.restored(second_client));
    ASSERT_TRUE(peer.ok());
    EXPECT_EQ(peer->text(), address.text());
    EXPECT_EQ(receive(room.restored(server)), "request");
    ASSERT_EQ(::send(room.restored(server), "reply", 5, 0), 5);
    EXPECT_EQ(receive(room.restored(second_client)), "reply");
  }
}

INSTANTIATE_TEST_SUITE_P(Types, UnixListener, ::testing::Values(SOCK_STREAM, SOCK_SEQPACKET),
                         [](const auto& param) { return type_label(param.param); });

TEST(UnixSocket, FreshOnesComeBack) {
  SocketRoom room;
  const uint64_t stream = room.enter(make_socket(AF_UNIX, SOCK_STREAM));
  const uint64_t datagram = room.enter(make_socket(AF_UNIX, SOCK_DGRAM));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(get_int(room.restored(stream), SOL_SOCKET, SO_TYPE), SOCK_STREAM);
  EXPECT_EQ(get_int(room.restored(datagram), SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
  EXPECT_THAT(room.restore_context.notes, IsEmpty());
}

TEST(UnixSocket, OutOfBandDataIsRefused) {
  auto [a, b] = make_socketpair(SOCK_STREAM);
  if (::send(a.get(), "!", 1, MSG_OOB) != 1) GTEST_SKIP() << "this kernel has no MSG_OOB on UNIX sockets";
  SocketRoom room;
  room.enter(std::move(a));
  EXPECT_THAT(codes(room.audit(room.enter(std::move(b)))), ElementsAre("SP-UNIX-OOB"));
}

TEST(UnixSocket, AResetThatIsPendingIsPendingAgain) {
  auto [a, b] = make_socketpair(SOCK_STREAM);
  ASSERT_EQ(::send(a.get(), "unread", 6, 0), 6);
  ASSERT_EQ(::send(b.get(), "first", 5, 0), 5);
  b.reset();
  SocketRoom room;
  const uint64_t id = room.enter(std::move(a));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(receive(room.restored(id)), "first");
  EXPECT_EQ(receive(room.restored(id)), "<ECONNRESET>");
  EXPECT_EQ(receive(room.restored(id)), "");
}

TEST(UnixSocket, AnotherProcessIsNamedAsTheHolder) {
  auto [inside, outside] = make_socketpair(SOCK_STREAM);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    inside.reset();
    char byte;
    ::_exit(::read(outside.get(), &byte, 1) >= 0 ? 0 : 1);
  }
  outside.reset();
  SocketRoom room;
  const uint64_t id = room.enter(std::move(inside));
  const std::vector<Finding> findings = room.audit(id);
  ASSERT_THAT(codes(findings), ElementsAre("SP-UNIX-EXTERNAL"));
  EXPECT_THAT(findings[0].reason, HasSubstr(absl::StrCat("pid ", child, " (")));
  ASSERT_EQ(::send(room.fd(id), "x", 1, 0), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
}

}  // namespace
}  // namespace stillpoint
