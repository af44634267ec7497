#include "helper/resources/tcp_socket_diag.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <iterator>

#include "helper/base/errors.h"
#include "helper/resources/socket_common.h"
#include "helper/resources/socket_netlink.h"

namespace stillpoint {
namespace {

constexpr absl::string_view kStateNames[] = {"UNKNOWN",   "ESTABLISHED", "SYN_SENT",    "SYN_RECV",   "FIN_WAIT1",
                                             "FIN_WAIT2", "TIME_WAIT",   "CLOSE",       "CLOSE_WAIT", "LAST_ACK",
                                             "LISTEN",    "CLOSING",     "NEW_SYN_RECV"};

// Copies the IP address out of `address`, 4 or 16 bytes of it.
void put_address(const SocketAddress& address, __be32* out) {
  if (address.family() == AF_INET) {
    std::memcpy(out, &reinterpret_cast<const sockaddr_in*>(address.get())->sin_addr, sizeof(in_addr));
  } else {
    std::memcpy(out, &reinterpret_cast<const sockaddr_in6*>(address.get())->sin6_addr, sizeof(in6_addr));
  }
}

SocketAddress read_address(int family, __be16 port, const __be32* bytes) {
  if (family == AF_INET) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = port;
    std::memcpy(&address.sin_addr, bytes, sizeof address.sin_addr);
    return SocketAddress(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = port;
  std::memcpy(&address.sin6_addr, bytes, sizeof address.sin6_addr);
  return SocketAddress(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

absl::Status parse_socket(absl::string_view body, TcpSocketInfo& info) {
  inet_diag_msg message;
  if (!take_netlink(body, message) || (message.idiag_family != AF_INET && message.idiag_family != AF_INET6)) {
    return malformed_netlink("answer");
  }
  info.state = message.idiag_state;
  info.inode = message.idiag_inode;
  info.receive_queue = message.idiag_rqueue;
  info.local = read_address(message.idiag_family, message.id.idiag_sport, message.id.idiag_src);
  info.peer = read_address(message.idiag_family, message.id.idiag_dport, message.id.idiag_dst);
  return absl::OkStatus();
}

inet_diag_req_v2 new_request(int family) {
  inet_diag_req_v2 request = {};
  request.sdiag_family = static_cast<uint8_t>(family);
  request.sdiag_protocol = IPPROTO_TCP;
  request.idiag_states = ~0u;
  request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return request;
}

absl::string_view bytes_of(const inet_diag_req_v2& request) {
  return {reinterpret_cast<const char*>(&request), sizeof request};
}

}  // namespace

absl::string_view tcp_state_name(uint8_t state) {
  return state < std::size(kStateNames) ? kStateNames[state] : kStateNames[0];
}

absl::StatusOr<TcpDiag> TcpDiag::open() {
  ASSIGN_OR_RETURN(UniqueFd fd, new_socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
  return TcpDiag(std::move(fd));
}

absl::StatusOr<TcpSocketInfo> TcpDiag::connection(const SocketAddress& local, const SocketAddress& peer) {
  // The kernel looks IPv4 connections up as such, whatever family their sockets are of.
  const SocketAddress from = local.without_mapping();
  const SocketAddress to = peer.without_mapping();
  inet_diag_req_v2 request = new_request(from.family());
  request.id.idiag_sport = htons(from.port());
  request.id.idiag_dport = htons(to.port());
  put_address(from, request.id.idiag_src);
  put_address(to, request.id.idiag_dst);
  TcpSocketInfo info;
  RETURN_IF_ERROR(ask_netlink(fd_.get(), bytes_of(request), false,
                              [&](absl::string_view body) { return parse_socket(body, info); }));
  // Where no such connection exists, the kernel shows who listens there.
  if (!info.peer.same_host(to) || info.peer.port() != to.port()) return absl::NotFoundError("no such connection");
  return info;
}

absl::StatusOr<std::vector<TcpSocketInfo>> TcpDiag::at_port(uint16_t port) {
  std::vector<TcpSocketInfo> sockets;
  for (const int family : {AF_INET, AF_INET6}) {
    inet_diag_req_v2 request = new_request(family);
    request.id.idiag_sport = htons(port);
    RETURN_IF_ERROR(ask_netlink(fd_.get(), bytes_of(request), true,
                                [&](absl::string_view body) { return parse_socket(body, sockets.emplace_back()); }));
  }
  return sockets;
}

}  // namespace stillpoint
