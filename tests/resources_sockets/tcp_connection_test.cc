// Connections with both ends in the image.
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <cstdlib>
#include <string>
#include <tuple>
#include <utility>

#include "helper/resources/socket.pb.h"
#include "tests/resources_sockets/socket_room.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

UniqueFd make_listener(const SocketAddress& address, bool reuse = true) {
  UniqueFd fd = make_socket(address.family(), SOCK_STREAM);
  if (reuse) set_int(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  bind_to(fd.get(), address);
  EXPECT_EQ(::listen(fd.get(), 7), 0);
  return fd;
}

SocketAddress peer_address(int fd) {
  absl::StatusOr<SocketAddress> address = SocketAddress::peer(fd);
  EXPECT_TRUE(address.ok()) << address.status();
  return address.ok() ? *address : SocketAddress();
}

void send_text(int fd, const std::string& text) {
  ASSERT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

// Reads until the end of the file, or until nothing comes any more.
std::string receive_all(int fd, size_t expected) {
  std::string all;
  while (all.size() < expected) {
    const std::string part = receive_soon(fd);
    if (part.empty() || part[0] == '<') return all + part;
    all += part;
  }
  return all;
}

std::string pattern(size_t size) {
  std::string text;
  for (uint32_t i = 0; text.size() < size; ++i) text += std::to_string(i * 2654435761u) + " ";
  text.resize(size);
  return text;
}

struct Way {
  int server_family;
  int client_family;
  const char* name;
};

class TcpConnection : public ::testing::TestWithParam<std::tuple<Way, bool>> {
 protected:
  void SetUp() override {
    SocketAddress address = loopback(std::get<0>(GetParam()).server_family);
    if (std::get<0>(GetParam()).server_family != std::get<0>(GetParam()).client_family) address.set_any();
    listener_ = make_listener(address);
    SocketAddress target = loopback(std::get<0>(GetParam()).client_family, local_address(listener_.get()).port());
    client_ = make_socket(std::get<0>(GetParam()).client_family, SOCK_STREAM);
    connect_to(client_.get(), target);
    server_.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(server_.valid());
  }
  void enter() {
    client_id_ = room_.enter(std::move(client_));
    server_id_ = room_.enter(std::move(server_));
    listener_id_ = room_.enter(std::move(listener_));
  }
  void talk() {
    send_text(room_.restored(client_id_), "ping");
    EXPECT_EQ(receive_soon(room_.restored(server_id_)), "ping");
    send_text(room_.restored(server_id_), "pong");
    EXPECT_EQ(receive_soon(room_.restored(client_id_)), "pong");
  }

  UniqueFd listener_, client_, server_;
  SocketRoom room_;
  uint64_t client_id_ = 0, server_id_ = 0, listener_id_ = 0;
};

TEST_P(TcpConnection, HasItsAddressesAndItsData) {
  room_.backwards = std::get<1>(GetParam());
  set_int(client_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  set_int(server_.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
  const std::string to_server = pattern(60'000), to_client = pattern(20'001);
  send_text(client_.get(), to_server);
  send_text(server_.get(), to_client);
  enter();
  const std::string client_text = local_address(room_.fd(client_id_)).text();
  const std::string server_text = local_address(room_.fd(server_id_)).text();
  const std::string client_peer = peer_address(room_.fd(client_id_)).text();
  const std::string server_peer = peer_address(room_.fd(server_id_)).text();
  room_.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(local_address(room_.restored(client_id_)).text(), client_text);
  EXPECT_EQ(local_address(room_.restored(server_id_)).text(), server_text);
  EXPECT_EQ(peer_address(room_.restored(client_id_)).text(), client_peer);
  EXPECT_EQ(peer_address(room_.restored(server_id_)).text(), server_peer);
  EXPECT_EQ(receive_all(room_.restored(server_id_), to_server.size()), to_server);
  EXPECT_EQ(receive_all(room_.restored(client_id_), to_client.size()), to_client);
  EXPECT_EQ(receive(room_.restored(client_id_)), "<EAGAIN>");
  EXPECT_EQ(receive(room_.restored(server_id_)), "<EAGAIN>");
  EXPECT_EQ(get_int(room_.restored(client_id_), IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(get_int(room_.restored(client_id_), SOL_SOCKET, SO_REUSEADDR), 0);
  EXPECT_EQ(get_int(room_.restored(server_id_), SOL_SOCKET, SO_REUSEADDR), 1);
  EXPECT_EQ(get_int(room_.restored(server_id_), SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(get_int(room_.restored(server_id_), IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_THAT(room_.restore_context.notes, IsEmpty());
  talk();
  // The listener takes new ones.
  const UniqueFd another = make_socket(std::get<0>(GetParam()).client_family, SOCK_STREAM);
  connect_to(another.get(), peer_address(room_.restored(client_id_)));
  EXPECT_TRUE(UniqueFd(::accept(room_.restored(listener_id_), nullptr, nullptr)).valid());
}

INSTANTIATE_TEST_SUITE_P(Families, TcpConnection,
                         ::testing::Combine(::testing::Values(Way{AF_INET, AF_INET, "IPv4"},
                                                              Way{AF_INET6, AF_INET6, "IPv6"},
                                                              Way{AF_INET6, AF_INET, "Mapped"}),
                                            ::testing::Bool()),
                         [](const auto& way) {
                           return std::string(std::get<0>(way.param).name) +
                                  (std::get<1>(way.param) ? "Backwards" : "");
                         });

struct Connection {
  UniqueFd listener, client, server;
  explicit Connection(bool reuse = true)
      : listener(make_listener(loopback(AF_INET), reuse)), client(make_socket(AF_INET, SOCK_STREAM)) {
    connect_to(client.get(), local_address(listener.get()));
    server.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
};

TEST(TcpHalves, DataBeforeAFinIsReadBeforeTheEnd) {
  Connection connection;
  send_text(connection.client.get(), "last words");
  ASSERT_EQ(::shutdown(connection.client.get(), SHUT_WR), 0);
  send_text(connection.server.get(), "answer");
  SocketRoom room;
  const uint64_t client = room.enter(std::move(connection.client));
  const uint64_t server = room.enter(std::move(connection.server));
  room.round_trip();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  EXPECT_EQ(receive_soon(room.restored(server)), "last words");
  EXPECT_EQ(receive_soon(room.restored(server)), "");
  EXPECT_EQ(receive_soon(room.restored(client)), "answer");
  EXPECT_EQ(::send(room.restored(client), "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
  send_text(room.restored(server), "more");
  EXPECT_EQ(receive_soon(room.restored(client)), "more");
}

TEST(TcpHalves, ShutForReading) {
  Connection connection;
  ASSERT_EQ(::shutdown(connection.client.get(), SHUT_RD), 0);
  SocketRoom room;
  const uint64_t client = room.enter(std::move(connection.client));
  const uint64_t server = room.enter(std::move(connection.server));
  room.round_trip();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  EXPECT_EQ(receive(room.restored(client)), "");
  EXPECT_EQ(receive(room.restored(server)), "<EAGAIN>");
  send_text(room.restored(client), "on");
  EXPECT_EQ(receive_soon(room.restored(server)), "on");
}

TEST(TcpHalves, TheOtherEndIsClosed) {
  Connection connection;
  send_text(connection.client.get(), "last words");
  connection.client.reset();
  connection.listener.reset();
  SocketRoom room;
  const uint64_t server = room.enter(std::move(connection.server));
  const std::string peer = peer_address(room.fd(server)).text();
  room.round_trip();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  EXPECT_EQ(peer_address(room.restored(server)).text(), peer);
  EXPECT_EQ(receive_soon(room.restored(server)), "last words");
  EXPECT_EQ(receive_soon(room.restored(server)), "");
}

TEST(TcpHalves, BothEndsAreShutAndSomethingIsUnread) {
  Connection connection;
  send_text(connection.client.get(), "to the server");
  send_text(connection.server.get(), "to the client");
  ASSERT_EQ(::shutdown(connection.client.get(), SHUT_WR), 0);
  ASSERT_EQ(::shutdown(connection.server.get(), SHUT_WR), 0);
  SocketRoom room;
  const uint64_t client = room.enter(std::move(connection.client));
  const uint64_t server = room.enter(std::move(connection.server));
  room.round_trip();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  EXPECT_EQ(receive_soon(room.restored(client)), "to the client");
  EXPECT_EQ(receive_soon(room.restored(client)), "");
  EXPECT_EQ(receive_soon(room.restored(server)), "to the server");
  EXPECT_EQ(receive_soon(room.restored(server)), "");
}

TEST(TcpHalves, AResetAfterUnreadData) {
  Connection connection;
  send_text(connection.server.get(), "unread");
  const linger abort = {1, 0};
  ASSERT_EQ(::setsockopt(connection.server.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort), 0);
  connection.server.reset();
  SocketRoom room;
  const uint64_t client = room.enter(std::move(connection.client));
  room.round_trip();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  EXPECT_EQ(receive(room.restored(client)), "unread");
  EXPECT_EQ(receive(room.restored(client)), "<ECONNRESET>");
  EXPECT_EQ(receive(room.restored(client)), "");
}

class Disabled {
 public:
  explicit Disabled(const char* features) { EXPECT_EQ(::setenv("STILLPOINT_DISABLE", features, 1), 0); }
  ~Disabled() { ::unsetenv("STILLPOINT_DISABLE"); }
};

// What closes first keeps its port for a minute.
void survives_time_wait(bool client_closes_first) {
  Connection connection;
  SocketRoom room;
  const uint64_t client = room.enter(std::move(connection.client));
  const uint64_t server = room.enter(std::move(connection.server));
  const uint64_t listener = room.enter(std::move(connection.listener));
  room.dump();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  for (int life = 0; life < 3; ++life) {
    room.restore();
    ASSERT_FALSE(::testing::Test::HasFatalFailure()) << "life " << life;
    EXPECT_THAT(room.restore_context.notes, IsEmpty());
    send_text(room.restored(client), "x");
    EXPECT_EQ(receive_soon(room.restored(server)), "x");
    room.restore_context.fds.erase(client_closes_first ? client : server);
    room.restore_context.fds.erase(client_closes_first ? server : client);
    room.restore_context.fds.erase(listener);
  }
}

TEST(TcpPorts, TheServersTimeWaitDoesNotMatter) { survives_time_wait(false); }
TEST(TcpPorts, TheClientsTimeWaitDoesNotMatter) { survives_time_wait(true); }
TEST(TcpPorts, TheClientsTimeWaitDoesNotMatterWithoutPrivilege) {
  const UniqueFd probe = make_socket(AF_INET, SOCK_STREAM);
  const int range = 0;
  constexpr int kIpLocalPortRange = 51;
  if (::setsockopt(probe.get(), SOL_IP, kIpLocalPortRange, &range, sizeof range) != 0) {
    GTEST_SKIP() << "a kernel before 6.3 makes a restart wait for a minute";
  }
  const Disabled disabled("tcp_repair");
  survives_time_wait(true);
}

TEST(TcpPorts, APortThatSomebodyElseHasIsReplaced) {
  const Disabled disabled("tcp_repair");
  Connection connection;
  SocketRoom room;
  const uint64_t client = room.enter(std::move(connection.client));
  const uint64_t server = room.enter(std::move(connection.server));
  const SocketAddress taken = local_address(room.fd(client));
  connection.listener.reset();
  room.dump();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  UniqueFd thief = make_socket(AF_INET, SOCK_STREAM);
  set_int(thief.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  bind_to(thief.get(), taken);
  ASSERT_EQ(::listen(thief.get(), 1), 0);
  room.restore();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  EXPECT_THAT(room.restore_context.notes, ElementsAre(HasSubstr("it was from 127.0.0.1")));
  send_text(room.restored(client), "still");
  EXPECT_EQ(receive_soon(room.restored(server)), "still");
}

TEST(TcpPorts, AnAddressThatIsNotHereBecomesTheLoopback) {
  Connection connection;
  SocketRoom room;
  const uint64_t client = room.enter(std::move(connection.client));
  const uint64_t server = room.enter(std::move(connection.server));
  room.dump();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  // 192.0.2.1 is nobody's (TEST-NET-1).
  for (model::OpenFile& file : *room.tree.mutable_open_files()) {
    resources::TcpSocketDetail detail;
    ASSERT_TRUE(detail.ParseFromString(file.detail()));
    for (std::string* address : {detail.mutable_local(), detail.mutable_peer_address()}) {
      auto& in = *reinterpret_cast<sockaddr_in*>(address->data());
      in.sin_addr.s_addr = htonl(0xc0000201);
    }
    file.set_detail(detail.SerializeAsString());
  }
  room.restore();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  EXPECT_THAT(room.restore_context.notes, ElementsAre(HasSubstr("it was from 192.0.2.1")));
  send_text(room.restored(client), "here");
  EXPECT_EQ(receive_soon(room.restored(server)), "here");
}

TEST(TcpPending, ConnectionsOfTheImageWaitAgain) {
  UniqueFd listening = make_listener(loopback(AF_INET));
  SocketRoom room;
  const SocketAddress address = local_address(listening.get());
  std::vector<uint64_t> clients;
  for (int i = 0; i < 3; ++i) {
    UniqueFd client = make_socket(AF_INET, SOCK_STREAM);
    connect_to(client.get(), address);
    clients.push_back(room.enter(std::move(client)));
  }
  const uint64_t listener = room.enter(std::move(listening));
  const std::string name = local_address(room.fd(clients[1])).text();
  room.round_trip();
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  EXPECT_EQ(local_address(room.restored(clients[1])).text(), name);
  int accepted = 0;
  while (true) {
    pollfd ready = {room.restored(listener), POLLIN, 0};
    if (::poll(&ready, 1, 0) != 1) break;
    const UniqueFd server(::accept(room.restored(listener), nullptr, nullptr));
    ASSERT_TRUE(server.valid());
    ++accepted;
    send_text(server.get(), peer_address(server.get()).text());
    for (const uint64_t client : clients) {
      if (local_address(room.restored(client)).text() == peer_address(server.get()).text()) {
        EXPECT_EQ(receive_soon(room.restored(client)), local_address(room.restored(client)).text());
      }
    }
  }
  EXPECT_EQ(accepted, 3);
}

TEST(TcpPending, WhatTheyHaveSentIsInTheWay) {
  UniqueFd listening = make_listener(loopback(AF_INET));
  SocketRoom room;
  UniqueFd client = make_socket(AF_INET, SOCK_STREAM);
  connect_to(client.get(), local_address(listening.get()));
  send_text(client.get(), "early");
  const uint64_t id = room.enter(std::move(client));
  const uint64_t listener = room.enter(std::move(listening));
  EXPECT_THAT(codes(room.audit(id)), ElementsAre("SP-TCP-PENDING"));
  EXPECT_THAT(room.audit(listener), IsEmpty());
}

// Fills the receiver's queue and then the sender's; all that was sent.
std::string fill_up(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  EXPECT_EQ(::fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
  std::string all;
  for (int quiet = 0; quiet < 3;) {
    const std::string part = pattern(40'000 + all.size() % 1000);
    const ssize_t size = ::send(fd, part.data(), part.size(), MSG_NOSIGNAL);
    if (size > 0) {
      all += part.substr(0, static_cast<size_t>(size));
      quiet = 0;
    } else {
      ++quiet;
    }
  }
  EXPECT_EQ(::fcntl(fd, F_SETFL, flags), 0);
  return all;
}

bool may_repair() {
  const UniqueFd probe = make_socket(AF_INET, SOCK_STREAM);
  const int on = 1;
  return ::setsockopt(probe.get(), IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) == 0;
}

TEST(TcpFull, WhatFindsNoRoomAtTheReceiverIsRead) {
  if (!may_repair()) GTEST_SKIP() << "no CAP_NET_ADMIN";
  for (const bool shut : {false, true}) {
    Connection connection;
    const std::string all = fill_up(connection.client.get());
    int outgoing = 0;
    ASSERT_EQ(::ioctl(connection.client.get(), SIOCOUTQ, &outgoing), 0);
    ASSERT_GT(outgoing, 0);
    if (shut) {
      ASSERT_EQ(::shutdown(connection.client.get(), SHUT_WR), 0);
    }
    SocketRoom room;
    const uint64_t client = room.enter(std::move(connection.client));
    const uint64_t server = room.enter(std::move(connection.server));
    const int before = get_int(room.fd(server), SOL_SOCKET, SO_REUSEADDR);
    // Twice, as the program goes on after the first.
    ASSERT_THAT(codes(room.audit(server)), IsEmpty());
    ASSERT_TRUE(room.dump_one(server).ok());
    EXPECT_EQ(get_int(room.fd(server), SOL_SOCKET, SO_REUSEADDR), before);
    room.round_trip();
    ASSERT_FALSE(::testing::Test::HasFatalFailure());
    EXPECT_TRUE(receive_all(room.restored(server), all.size()) == all);
    if (shut) {
      EXPECT_EQ(receive_soon(room.restored(server)), "");
    } else {
      EXPECT_EQ(receive(room.restored(server)), "<EAGAIN>");
      send_text(room.restored(client), "go on");
      EXPECT_EQ(receive_soon(room.restored(server)), "go on");
    }
  }
}

TEST(TcpFull, LookingIntoItDisturbsNothing) {
  if (!may_repair()) GTEST_SKIP() << "no CAP_NET_ADMIN";
  Connection connection;
  const std::string all = fill_up(connection.client.get());
  SocketRoom room;
  const uint64_t client = room.enter(std::move(connection.client));
  const uint64_t server = room.enter(std::move(connection.server));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(room.dump_one(server).ok());
  EXPECT_TRUE(receive_all(room.fd(server), all.size()) == all);
  send_text(room.fd(client), "go on");
  EXPECT_EQ(receive_soon(room.fd(server)), "go on");
}

TEST(TcpFull, WithoutPrivilegeItIsRefused) {
  const Disabled disabled("tcp_repair");
  Connection connection;
  fill_up(connection.client.get());
  SocketRoom room;
  const uint64_t client = room.enter(std::move(connection.client));
  const uint64_t server = room.enter(std::move(connection.server));
  EXPECT_THAT(room.audit(client), IsEmpty());
  EXPECT_THAT(codes(room.audit(server)), ElementsAre("SP-TCP-IN-FLIGHT"));
  EXPECT_FALSE(room.dump_one(server).ok());
}

}  // namespace
}  // namespace stillpoint
