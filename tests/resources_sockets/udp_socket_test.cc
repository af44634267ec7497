#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/un.h>

#include "helper/resources/socket_multicast.h"
#include "tests/resources_sockets/socket_room.h"

namespace stillpoint {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

UniqueFd make_bound(int family = AF_INET) {
  UniqueFd fd = make_socket(family, SOCK_DGRAM);
  bind_to(fd.get(), loopback(family));
  return fd;
}

TEST(UdpSocket, BoundOneReceivesAgain) {
  SocketRoom room;
  const uint64_t id = room.enter(make_bound());
  const SocketAddress address = local_address(room.fd(id));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(local_address(room.restored(id)).text(), address.text());
  const UniqueFd client = make_socket(AF_INET, SOCK_DGRAM);
  connect_to(client.get(), address);
  ASSERT_EQ(::send(client.get(), "hello", 5, 0), 5);
  EXPECT_EQ(receive_soon(room.restored(id)), "hello");
  EXPECT_THAT(room.restore_context.notes, IsEmpty());
}

TEST(UdpSocket, ConnectedOneIsConnectedAgain) {
  const UniqueFd server = make_bound();
  UniqueFd client = make_socket(AF_INET, SOCK_DGRAM);
  connect_to(client.get(), local_address(server.get()));
  const SocketAddress address = local_address(client.get());
  SocketRoom room;
  const uint64_t id = room.enter(std::move(client));
  const uint64_t fresh = room.enter(make_socket(AF_INET, SOCK_DGRAM));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(local_address(room.restored(id)).text(), address.text());
  ASSERT_EQ(::send(room.restored(id), "to you", 6, 0), 6);
  EXPECT_EQ(receive_soon(server.get()), "to you");
  ASSERT_EQ(::sendto(server.get(), "to me", 5, 0, address.get(), address.length()), 5);
  EXPECT_EQ(receive_soon(room.restored(id)), "to me");
  EXPECT_EQ(local_address(room.restored(fresh)).port(), 0);
}

TEST(UdpSocket, WaitingDatagramsOfOthersAreNotedAndOwnOnesKept) {
  UniqueFd fd = make_bound();
  const SocketAddress address = local_address(fd.get());
  const UniqueFd other = make_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(::sendto(fd.get(), "wake 1", 6, 0, address.get(), address.length()), 6);
  ASSERT_EQ(::sendto(other.get(), "lost", 4, 0, address.get(), address.length()), 4);
  ASSERT_EQ(::sendto(fd.get(), "", 0, 0, address.get(), address.length()), 0);
  ASSERT_EQ(::sendto(fd.get(), "wake 2", 6, 0, address.get(), address.length()), 6);
  SocketRoom room;
  const uint64_t id = room.enter(std::move(fd));
  // Dumping twice changes nothing.
  const absl::StatusOr<model::OpenFile> first = room.dump_one(id);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(get_int(room.fd(id), SOL_SOCKET, SO_PEEK_OFF), -1);
  EXPECT_EQ(receive(room.fd(id), MSG_PEEK), "wake 1");
  room.dump();
  ASSERT_FALSE(HasFatalFailure());
  *room.tree.mutable_open_files(0) = *first;
  room.restore();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(receive_soon(room.restored(id)), "wake 1");
  EXPECT_EQ(receive_soon(room.restored(id)), "");
  EXPECT_EQ(receive_soon(room.restored(id)), "wake 2");
  EXPECT_EQ(receive(room.restored(id)), "<EAGAIN>");
  EXPECT_THAT(room.restore_context.notes, Contains(HasSubstr("are lost, as UDP may lose them")));
}

TEST(UdpSocket, CorkedDataIsRefusedAndAnEmptyCorkKept) {
  UniqueFd fd = make_socket(AF_INET, SOCK_DGRAM);
  const UniqueFd server = make_bound();
  connect_to(fd.get(), local_address(server.get()));
  set_int(fd.get(), IPPROTO_UDP, UDP_CORK, 1);
  SocketRoom room;
  const uint64_t id = room.enter(std::move(fd));
  EXPECT_THAT(room.audit(id), IsEmpty());
  ASSERT_EQ(::send(room.fd(id), "half", 4, 0), 4);
  EXPECT_THAT(codes(room.audit(id)), ElementsAre("SP-UDP-CORKED"));
  set_int(room.fd(id), IPPROTO_UDP, UDP_CORK, 0);
  EXPECT_EQ(receive_soon(server.get()), "half");
  set_int(room.fd(id), IPPROTO_UDP, UDP_CORK, 1);
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(get_int(room.restored(id), IPPROTO_UDP, UDP_CORK), 1);
}

TEST(UdpSocket, AMessageThatWaitsForMoreIsRefused) {
  const UniqueFd server = make_bound();
  UniqueFd fd = make_socket(AF_INET, SOCK_DGRAM);
  connect_to(fd.get(), local_address(server.get()));
  ASSERT_EQ(::send(fd.get(), "half", 4, MSG_MORE), 4);
  SocketRoom room;
  EXPECT_THAT(codes(room.audit(room.enter(std::move(fd)))), ElementsAre("SP-UDP-CORKED"));
}

TEST(UdpSocket, APendingErrorIsLeftToTheProgram) {
  UniqueFd fd = make_socket(AF_INET, SOCK_DGRAM);
  {
    const UniqueFd closed = make_bound();
    connect_to(fd.get(), local_address(closed.get()));
  }
  ASSERT_EQ(::send(fd.get(), "x", 1, 0), 1);
  pollfd refused = {fd.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&refused, 1, 30'000), 1);
  SocketRoom room;
  const uint64_t id = room.enter(std::move(fd));
  EXPECT_THAT(room.audit(id), IsEmpty());
  EXPECT_TRUE(room.dump_one(id).ok());
  EXPECT_EQ(receive(room.fd(id)), "<ECONNREFUSED>");
}

TEST(UdpSocket, MulticastMembershipsAreJoinedAgain) {
  const unsigned lo = ::if_nametoindex("lo");
  ASSERT_NE(lo, 0u);
  UniqueFd fd = make_socket(AF_INET, SOCK_DGRAM);
  group_req request = {};
  request.gr_interface = lo;
  auto* group = reinterpret_cast<sockaddr_in*>(&request.gr_group);
  group->sin_family = AF_INET;
  group->sin_addr.s_addr = htonl(0xef010203);  // 239.1.2.3
  if (::setsockopt(fd.get(), IPPROTO_IP, MCAST_JOIN_GROUP, &request, sizeof request) != 0) {
    GTEST_SKIP() << "the loopback interface takes no multicast groups";
  }
  SocketRoom room;
  const uint64_t member = room.enter(std::move(fd));
  const uint64_t stranger = room.enter(make_socket(AF_INET, SOCK_DGRAM));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_THAT(room.restore_context.notes, IsEmpty());
  // Leaving works for a member only.
  EXPECT_EQ(::setsockopt(room.restored(member), IPPROTO_IP, MCAST_LEAVE_GROUP, &request, sizeof request), 0);
  EXPECT_NE(::setsockopt(room.restored(stranger), IPPROTO_IP, MCAST_LEAVE_GROUP, &request, sizeof request), 0);
}

TEST(UdpSocket, IgmpTextIsUntrusted) {
  const absl::StatusOr<std::vector<MulticastGroup>> groups = parse_igmp(
      "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
      "1\tlo        :     1      V3\n\t\t\t\t030201EF     1 0:00000000\t\t0\n");
  ASSERT_TRUE(groups.ok()) << groups.status();
  ASSERT_EQ(groups->size(), 1u);
  EXPECT_EQ(groups->front().interface, 1u);
  EXPECT_EQ(groups->front().group.text(), "239.1.2.3:0");
  const absl::StatusOr<std::vector<MulticastGroup>> groups6 =
      parse_igmp6("1    lo              ff020000000000000000000000000001     1 0000000C 0\n");
  ASSERT_TRUE(groups6.ok()) << groups6.status();
  EXPECT_EQ(groups6->front().group.text(), "[ff02::1]:0");
  EXPECT_FALSE(parse_igmp("heading\nx lo\n").ok());
  EXPECT_FALSE(parse_igmp("heading\n1 lo\n\t\t030201\n").ok());
  EXPECT_FALSE(parse_igmp("heading\n \t\n").ok());
  EXPECT_FALSE(parse_igmp6("1 lo\n").ok());
  EXPECT_FALSE(parse_igmp6("1 lo zz020000000000000000000000000001 1\n").ok());
}

}  // namespace
}  // namespace stillpoint
