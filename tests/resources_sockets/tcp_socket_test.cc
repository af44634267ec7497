#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include "tests/resources_sockets/socket_room.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

UniqueFd make_listener(int family, int backlog = 7) {
  UniqueFd fd = make_socket(family, SOCK_STREAM);
  bind_to(fd.get(), loopback(family));
  EXPECT_EQ(::listen(fd.get(), backlog), 0);
  return fd;
}

uint32_t backlog_of(int fd) {
  tcp_info info = {};
  socklen_t length = sizeof info;
  EXPECT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
  EXPECT_EQ(info.tcpi_state, TCP_LISTEN);
  return info.tcpi_sacked;
}

class TcpListener : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const UniqueFd probe(::socket(GetParam(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress address = loopback(GetParam());
    if (!probe.valid() || ::bind(probe.get(), address.get(), address.length()) != 0) {
      GTEST_SKIP() << "no loopback address of family " << GetParam();
    }
  }
};

TEST_P(TcpListener, AcceptsAgainAtTheSameAddress) {
  SocketRoom room;
  const uint64_t id = room.enter(make_listener(GetParam()));
  const SocketAddress address = local_address(room.fd(id));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());

  EXPECT_EQ(local_address(room.restored(id)).text(), address.text());
  EXPECT_EQ(backlog_of(room.restored(id)), 7u);
  const UniqueFd client = make_socket(GetParam(), SOCK_STREAM);
  connect_to(client.get(), address);
  const UniqueFd server(::accept(room.restored(id), nullptr, nullptr));
  ASSERT_TRUE(server.valid());
  ASSERT_EQ(::send(client.get(), "hello", 5, MSG_NOSIGNAL), 5);
  EXPECT_EQ(receive_soon(server.get()), "hello");
}

// Leaves a connection in TIME_WAIT on the listener's port.
void connect_and_close(int listener) {
  const UniqueFd client = make_socket(local_address(listener).family(), SOCK_STREAM);
  connect_to(client.get(), local_address(listener));
  UniqueFd server(::accept(listener, nullptr, nullptr));
  ASSERT_TRUE(server.valid());
  server.reset();  // closes first
  EXPECT_EQ(receive_soon(client.get()), "");
}

TEST_P(TcpListener, ConnectionsInTimeWaitDoNotKeepThePortOfOneWithReuseaddr) {
  UniqueFd fd = make_socket(GetParam(), SOCK_STREAM);
  set_int(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  bind_to(fd.get(), loopback(GetParam()));
  ASSERT_EQ(::listen(fd.get(), 7), 0);
  SocketRoom room;
  const uint64_t id = room.enter(std::move(fd));
  const SocketAddress address = local_address(room.fd(id));
  connect_and_close(room.fd(id));
  ASSERT_FALSE(HasFatalFailure());
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(get_int(room.restored(id), SOL_SOCKET, SO_REUSEADDR), 1);
  EXPECT_EQ(local_address(room.restored(id)).text(), address.text());
}

TEST_P(TcpListener, ConnectionsInTimeWaitAreTheReasonGivenOtherwise) {
  SocketRoom room;
  const uint64_t id = room.enter(make_listener(GetParam()));
  connect_and_close(room.fd(id));
  ASSERT_FALSE(HasFatalFailure());
  room.dump();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_THAT(std::string(room.try_restore().message()), HasSubstr("connections that have just ended"));
}

INSTANTIATE_TEST_SUITE_P(Families, TcpListener, ::testing::Values(AF_INET, AF_INET6),
                         [](const auto& param) { return param.param == AF_INET ? "IPv4" : "IPv6"; });

TEST(TcpSocket, V6OnlyLeavesThePortToIPv4) {
  UniqueFd fd = make_socket(AF_INET6, SOCK_STREAM);
  set_int(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  sockaddr_in6 any = {};
  any.sin6_family = AF_INET6;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) != 0) GTEST_SKIP() << "no IPv6";
  ASSERT_EQ(::listen(fd.get(), 1), 0);
  const uint16_t port = local_address(fd.get()).port();
  SocketRoom room;
  const uint64_t id = room.enter(std::move(fd));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(get_int(room.restored(id), IPPROTO_IPV6, IPV6_V6ONLY), 1);
  const UniqueFd client = make_socket(AF_INET, SOCK_STREAM);
  const SocketAddress address = loopback(AF_INET, port);
  EXPECT_NE(::connect(client.get(), address.get(), address.length()), 0);
}

TEST(TcpSocket, FreshAndBoundOnesComeBack) {
  SocketRoom room;
  const uint64_t fresh = room.enter(make_socket(AF_INET, SOCK_STREAM));
  UniqueFd fd = make_socket(AF_INET, SOCK_STREAM);
  bind_to(fd.get(), loopback(AF_INET));
  const SocketAddress address = local_address(fd.get());
  const uint64_t bound = room.enter(std::move(fd));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());

  EXPECT_EQ(receive(room.restored(fresh)), "<ENOTCONN>");
  EXPECT_EQ(local_address(room.restored(fresh)).port(), 0);
  EXPECT_EQ(local_address(room.restored(bound)).text(), address.text());
  // The fresh one can still become a client, of the bound one that becomes a server.
  ASSERT_EQ(::listen(room.restored(bound), 1), 0);
  connect_to(room.restored(fresh), address);
}

TEST(TcpSocket, TwoListenersShareAPort) {
  SocketRoom room;
  UniqueFd first = make_socket(AF_INET, SOCK_STREAM);
  set_int(first.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  bind_to(first.get(), loopback(AF_INET));
  const SocketAddress address = local_address(first.get());
  UniqueFd second = make_socket(AF_INET, SOCK_STREAM);
  set_int(second.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  bind_to(second.get(), address);
  ASSERT_EQ(::listen(first.get(), 1), 0);
  ASSERT_EQ(::listen(second.get(), 1), 0);
  const uint64_t a = room.enter(std::move(first));
  const uint64_t b = room.enter(std::move(second));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(local_address(room.restored(a)).text(), address.text());
  EXPECT_EQ(local_address(room.restored(b)).text(), address.text());
}

TEST(TcpSocket, APortInUseIsAnErrorThatNamesIt) {
  SocketRoom room;
  const uint64_t id = room.enter(make_listener(AF_INET));
  const SocketAddress address = local_address(room.fd(id));
  room.dump();
  ASSERT_FALSE(HasFatalFailure());
  const UniqueFd thief = make_socket(AF_INET, SOCK_STREAM);
  set_int(thief.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  bind_to(thief.get(), address);
  ASSERT_EQ(::listen(thief.get(), 1), 0);
  const absl::Status status = room.try_restore();
  EXPECT_THAT(std::string(status.message()), HasSubstr(address.text()));
  EXPECT_THAT(std::string(status.message()), HasSubstr("EADDRINUSE"));
}

struct Connection {
  UniqueFd listener, client, server;
  Connection() : listener(make_listener(AF_INET)), client(make_socket(AF_INET, SOCK_STREAM)) {
    connect_to(client.get(), local_address(listener.get()));
    server.reset(::accept(listener.get(), nullptr, nullptr));
  }
};

TEST(TcpSocket, ConnectionsAreRefusedWithTheirPeerAndState) {
  Connection connection;
  const std::string peer = local_address(connection.listener.get()).text();
  SocketRoom room;
  const uint64_t client = room.enter(std::move(connection.client));
  std::vector<Finding> findings = room.audit(client);
  ASSERT_THAT(codes(findings), ElementsAre("SP-TCP-ESTABLISHED"));
  EXPECT_THAT(findings[0].reason, HasSubstr(peer));
  EXPECT_THAT(findings[0].reason, HasSubstr("(ESTABLISHED"));
  EXPECT_FALSE(room.dump_one(client).ok());

  ASSERT_EQ(::shutdown(connection.server.get(), SHUT_WR), 0);
  EXPECT_EQ(receive_soon(room.fd(client)), "");
  findings = room.audit(client);
  ASSERT_THAT(codes(findings), ElementsAre("SP-TCP-ESTABLISHED"));
  EXPECT_THAT(findings[0].reason, HasSubstr("(CLOSE_WAIT"));
}

TEST(TcpSocket, TheStartersConnectionIsInherited) {
  Connection connection;
  SocketRoom room;
  const uint64_t id = room.enter(std::move(connection.server));
  room.dump_context.inherited_numbers.insert(room.fd(id));
  EXPECT_THAT(room.audit(id), IsEmpty());
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(room.restore_context.asked_inherited.size(), 1u);
}

TEST(TcpSocket, PendingConnectionsAreRefused) {
  SocketRoom room;
  const uint64_t id = room.enter(make_listener(AF_INET));
  EXPECT_THAT(room.audit(id), IsEmpty());
  const UniqueFd client = make_socket(AF_INET, SOCK_STREAM);
  connect_to(client.get(), local_address(room.fd(id)));
  pollfd ready = {room.fd(id), POLLIN, 0};
  ASSERT_EQ(::poll(&ready, 1, 30'000), 1);
  EXPECT_THAT(codes(room.audit(id)), ElementsAre("SP-TCP-PENDING"));
  EXPECT_FALSE(room.dump_one(id).ok());
}

TEST(TcpSocket, AnEndedConnectionStillGivesEndOfFile) {
  Connection connection;
  const linger abort = {1, 0};
  ASSERT_EQ(::setsockopt(connection.server.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort), 0);
  connection.server.reset();  // RST
  pollfd gone = {connection.client.get(), POLLRDHUP, 0};
  ASSERT_EQ(::poll(&gone, 1, 30'000), 1);
  EXPECT_EQ(receive(connection.client.get()), "<ECONNRESET>");
  EXPECT_EQ(receive(connection.client.get()), "");
  SocketRoom room;
  const uint64_t id = room.enter(std::move(connection.client));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(receive(room.restored(id)), "");
  EXPECT_EQ(::send(room.restored(id), "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
}

TEST(TcpSocket, AnAuditTakesNoErrorAway) {
  Connection connection;
  const linger abort = {1, 0};
  ASSERT_EQ(::setsockopt(connection.server.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort), 0);
  connection.server.reset();
  pollfd gone = {connection.client.get(), POLLRDHUP, 0};
  ASSERT_EQ(::poll(&gone, 1, 30'000), 1);
  SocketRoom room;
  const uint64_t id = room.enter(std::move(connection.client));
  EXPECT_THAT(room.audit(id), IsEmpty());
  EXPECT_TRUE(room.dump_one(id).ok());
  EXPECT_EQ(get_int(room.fd(id), SOL_SOCKET, SO_ERROR), ECONNRESET);
}

}  // namespace
}  // namespace stillpoint
