#include <linux/netlink.h>
#include <netinet/in.h>

#include "helper/resources/socket_kinds.h"
#include "tests/resources_sockets/socket_room.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Refused {
  const char* label;
  int domain, type, protocol;
  const char* words;
};

class OtherSocket : public ::testing::TestWithParam<Refused> {};

TEST_P(OtherSocket, IsRefusedByItsFamily) {
  const Refused& refused = GetParam();
  UniqueFd fd(::socket(refused.domain, refused.type | SOCK_CLOEXEC, refused.protocol));
  if (!fd.valid()) GTEST_SKIP() << "this kernel or user has no " << refused.label << " sockets";
  SocketRoom room;
  const uint64_t id = room.enter(std::move(fd));
  const std::vector<Finding> findings = room.audit(id);
  ASSERT_THAT(codes(findings), ElementsAre("SP-SOCKET-FAMILY"));
  EXPECT_THAT(findings[0].reason, HasSubstr(refused.words));
  EXPECT_FALSE(room.dump_one(id).ok());
}

INSTANTIATE_TEST_SUITE_P(Families, OtherSocket,
                         ::testing::Values(Refused{"Netlink", AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, "netlink raw"},
                                           Refused{"Alg", AF_ALG, SOCK_SEQPACKET, 0, "AF_ALG"},
                                           Refused{"Vsock", AF_VSOCK, SOCK_STREAM, 0, "vsock"},
                                           Refused{"Packet", AF_PACKET, SOCK_RAW, 0, "packet raw"},
                                           Refused{"Raw", AF_INET, SOCK_RAW, IPPROTO_ICMP, "IPv4 raw socket (ICMP)"},
                                           Refused{"Ping", AF_INET, SOCK_DGRAM, IPPROTO_ICMP, "IPv4 datagram"},
                                           Refused{"Sctp", AF_INET, SOCK_STREAM, IPPROTO_SCTP, "(SCTP)"},
                                           Refused{"Mptcp", AF_INET, SOCK_STREAM, 262, "(MPTCP)"}),
                         [](const auto& param) { return param.param.label; });

TEST(OpaqueSocket, NamesThePermissionThatIsMissing) {
  SocketRoom room;
  for (const int domain : {AF_INET, AF_UNIX}) {
    OpenFileView view = room.view(room.enter(make_socket(domain, SOCK_STREAM)));
    view.fd = -1;
    const OpenFileKind* kind = socket_kind_for(view);
    ASSERT_EQ(kind, &other_socket_kind());
    Findings findings;
    kind->audit(view, room.dump_context, findings);
    ASSERT_THAT(codes(findings.all()), ElementsAre("SP-SOCKET-OPAQUE"));
    EXPECT_THAT(findings.all()[0].reason, HasSubstr("CAP_SYS_PTRACE"));
  }
}

TEST(OtherFiles, AreNotClaimed) {
  OpenFileView view;
  view.stat.st_mode = S_IFREG | 0600;
  EXPECT_EQ(socket_kind_for(view), nullptr);
}

}  // namespace
}  // namespace stillpoint
