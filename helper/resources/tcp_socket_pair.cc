#include "helper/resources/tcp_socket_pair.h"

#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/resources/socket_common.h"
#include "helper/resources/tcp_socket_diag.h"
#include "helper/resources/tcp_socket_queue.h"

namespace stillpoint {
namespace {

constexpr absl::Duration kTimeWait = absl::Seconds(61);
constexpr absl::Duration kConnectLimit = absl::Seconds(5);
constexpr int kIpLocalPortRange = 51;  // IP_LOCAL_PORT_RANGE, Linux 6.3

bool is_about_addresses(const absl::Status& status) {
  return absl::IsAlreadyExists(status) || absl::IsNotFound(status);
}

// ALREADY_EXISTS: in use; NOT_FOUND: not on this host.
absl::Status address_status(absl::string_view what, const SocketAddress& address) {
  const int error = errno;
  const std::string text = absl::StrCat(what, " ", address.text(), ": ", errno_name(error));
  if (error == EADDRINUSE) return absl::AlreadyExistsError(text);
  if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT) return absl::NotFoundError(text);
  return errno_status(error, absl::StrCat(what, " ", address.text()));
}

absl::StatusOr<UniqueFd> new_end(const TcpEnd& end) {
  ASSIGN_OR_RETURN(UniqueFd fd, new_socket(end.domain, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP));
  RETURN_IF_ERROR(set_int_socket_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  if (end.domain == AF_INET6) {
    RETURN_IF_ERROR(set_int_socket_option(fd.get(), SOL_IPV6, IPV6_V6ONLY, end.v6_only ? 1 : 0, "IPV6_V6ONLY"));
  }
  return fd;
}

absl::Status bind_to(int fd, const SocketAddress& address) {
  if (::bind(fd, address.get(), address.length()) == 0) return absl::OkStatus();
  return address_status("bind to", address);
}

// The port of a client that did not choose it itself.
bool is_ephemeral(uint16_t port) {
  UniqueFd file(::open("/proc/sys/net/ipv4/ip_local_port_range", O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return false;
  const absl::StatusOr<std::string> text = read_whole(file.get(), "ip_local_port_range", kPageSize);
  if (!text.ok()) return false;
  const std::vector<absl::string_view> words = absl::StrSplit(*text, absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
  uint32_t low = 0, high = 0;
  return words.size() == 2 && absl::SimpleAtoi(words[0], &low) && absl::SimpleAtoi(words[1], &high) && low <= port &&
         port <= high;
}

// The ways for a client to come to its port, in the order in which they are tried. Connections that have ended keep
// their ports for a while (TIME_WAIT), against bind(2), and less so against a port that the kernel gives out itself.
enum class ClientPort {
  kGivenOut,  // when it connects, from a range of one port
  kBound,
  kForced,  // in repair mode, which ignores whoever has the port: CAP_NET_ADMIN
};

absl::Status let_kernel_give_out(int fd, const SocketAddress& address) {
  if (feature_disabled("ip_local_port_range") || !is_ephemeral(address.port())) {
    return absl::AlreadyExistsError("the port is not one of those that the kernel gives out");
  }
  const int range = static_cast<int>(uint32_t{address.port()} << 16 | address.port());
  const absl::Status set = set_int_socket_option(fd, SOL_IP, kIpLocalPortRange, range, "IP_LOCAL_PORT_RANGE");
  if (!set.ok()) return absl::AlreadyExistsError(set.message());
  RETURN_IF_ERROR(set_int_socket_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT"));
  SocketAddress without_port = address;
  without_port.set_port(0);
  return bind_to(fd, without_port);
}

absl::Status bind_by_force(int fd, const SocketAddress& address) {
  if (!can_repair_tcp()) return absl::AlreadyExistsError(absl::StrCat("bind to ", address.text(), ": EADDRINUSE"));
  RETURN_IF_ERROR(set_int_socket_option(fd, IPPROTO_TCP, TCP_REPAIR, 1, "TCP_REPAIR"));
  absl::Status bound = bind_to(fd, address);
  bound.Update(set_int_socket_option(fd, IPPROTO_TCP, TCP_REPAIR, -1, "TCP_REPAIR"));
  bound.Update(set_int_socket_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  return bound;
}

absl::Status take_client_port(int fd, const SocketAddress& address, ClientPort way) {
  if (way == ClientPort::kGivenOut) return let_kernel_give_out(fd, address);
  return way == ClientPort::kBound ? bind_to(fd, address) : bind_by_force(fd, address);
}

// What is set to bring a connection about is not the program's.
absl::Status forget_how_it_was_bound(int fd) {
  const int none = 0;
  if (::setsockopt(fd, SOL_IP, kIpLocalPortRange, &none, sizeof none) != 0 && errno != ENOPROTOOPT) {
    return errno_status(errno, "setsockopt(IP_LOCAL_PORT_RANGE)");
  }
  return set_int_socket_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 0, "IP_BIND_ADDRESS_NO_PORT");
}

// The connection that `client` has made, among those that others may have made.
absl::StatusOr<UniqueFd> accept_from(int listener, int client) {
  ASSIGN_OR_RETURN(const SocketAddress expected, SocketAddress::local(client));
  const absl::Time deadline = absl::Now() + kConnectLimit;
  while (absl::Now() < deadline) {
    pollfd ready = {listener, POLLIN, 0};
    if (::poll(&ready, 1, 100) <= 0) continue;
    UniqueFd accepted(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!accepted.valid()) continue;
    const absl::StatusOr<SocketAddress> peer = SocketAddress::peer(accepted.get());
    if (peer.ok() && peer->same_host(expected) && peer->port() == expected.port()) return accepted;
  }
  return absl::DeadlineExceededError("the connection did not arrive");
}

TcpEnd with_some_address(const TcpEnd& end) {
  TcpEnd some = end;
  if (!end.address.empty()) return some;
  sockaddr_in loopback = {};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  some.address = SocketAddress(reinterpret_cast<const sockaddr*>(&loopback), sizeof loopback).as_seen_by(end.domain);
  some.v6_only = false;
  return some;
}

// `server` listens. NOT_FOUND and ALREADY_EXISTS are about the addresses.
absl::StatusOr<SocketEnds> connect_ends(const TcpEnd& client, const TcpEnd& server, ClientPort way) {
  ASSIGN_OR_RETURN(const UniqueFd listener, new_end(server));
  RETURN_IF_ERROR(bind_to(listener.get(), server.address));
  if (::listen(listener.get(), 16) != 0) return address_status("listen on", server.address);
  ASSIGN_OR_RETURN(const SocketAddress target, SocketAddress::local(listener.get()));
  ASSIGN_OR_RETURN(UniqueFd connecting, new_end(client));
  const bool any_port = client.address.port() == 0;
  RETURN_IF_ERROR(take_client_port(connecting.get(), client.address, any_port ? ClientPort::kBound : way));
  RETURN_IF_ERROR(connect_tcp(connecting.get(), target.as_seen_by(client.domain)));
  ASSIGN_OR_RETURN(UniqueFd accepted, accept_from(listener.get(), connecting.get()));
  RETURN_IF_ERROR(forget_how_it_was_bound(connecting.get()));
  return SocketEnds{std::move(connecting), std::move(accepted)};
}

// Either end may have been the one that listened; what its ended connections leave behind differs with that.
absl::StatusOr<SocketEnds> connect_either_way(const TcpEnd& own, const TcpEnd& other) {
  absl::Status first;
  for (const ClientPort way : {ClientPort::kGivenOut, ClientPort::kBound, ClientPort::kForced}) {
    absl::StatusOr<SocketEnds> pair = connect_ends(own, other, way);
    if (pair.ok() || !is_about_addresses(pair.status())) return pair;
    absl::StatusOr<SocketEnds> reverse = connect_ends(other, own, way);
    if (reverse.ok()) return SocketEnds{std::move(reverse->other), std::move(reverse->own)};
    if (!is_about_addresses(reverse.status())) return reverse;
    if (way == ClientPort::kBound) first = pair.status();
  }
  return first;
}

// Whether all that keeps the port are connections which have ended.
bool will_be_free(uint16_t port) {
  absl::StatusOr<TcpDiag> diag = TcpDiag::open();
  if (!diag.ok()) return false;
  const absl::StatusOr<std::vector<TcpSocketInfo>> sockets = diag->at_port(port);
  return sockets.ok() && std::all_of(sockets->begin(), sockets->end(), [](const TcpSocketInfo& socket) {
           return socket.inode == 0 && socket.state != kTcpListen;
         });
}

}  // namespace

absl::StatusOr<SocketEnds> make_tcp_pair(const TcpEnd& own, const TcpEnd& other, absl::string_view object,
                                         OpenFileRestoreContext& context) {
  TcpEnd here = with_some_address(own);
  TcpEnd there = with_some_address(other);
  const absl::Time deadline = absl::Now() + kTimeWait;
  absl::StatusOr<SocketEnds> pair = connect_either_way(here, there);
  while (absl::IsAlreadyExists(pair.status()) && absl::Now() < deadline && will_be_free(here.address.port()) &&
         will_be_free(there.address.port())) {
    absl::SleepFor(absl::Milliseconds(50));
    pair = connect_either_way(here, there);
  }
  if (absl::IsNotFound(pair.status())) {
    here.address = here.address.on_loopback();
    there.address = there.address.on_loopback();
    here.v6_only = there.v6_only = false;
    pair = connect_either_way(here, there);
  }
  if (absl::IsAlreadyExists(pair.status())) {
    here.address.set_port(0);
    there.address.set_port(0);
    pair = connect_either_way(here, there);
  }
  RETURN_IF_ERROR(pair.status());
  if (!own.address.empty() && !(here.address == own.address && there.address == other.address)) {
    ASSIGN_OR_RETURN(const SocketAddress now, SocketAddress::local(pair->own.get()));
    ASSIGN_OR_RETURN(const SocketAddress peer_now, SocketAddress::peer(pair->own.get()));
    context.note(absl::StrCat(object, ": this connection is now from ", now.text(), " to ", peer_now.text(),
                              "; it was from ", own.address.text(), " to ", other.address.text(),
                              ", which cannot be had here"));
  }
  return pair;
}

absl::Status bind_tcp_client(int fd, const SocketAddress& address) {
  RETURN_IF_ERROR(set_int_socket_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  absl::Status bound;
  for (const ClientPort way : {ClientPort::kBound, ClientPort::kForced, ClientPort::kGivenOut}) {
    bound = take_client_port(fd, address, way);
    if (!absl::IsAlreadyExists(bound)) break;
  }
  return bound;
}

absl::Status connect_tcp(int fd, const SocketAddress& address) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
    return errno_status(errno, "fcntl(F_SETFL) on a socket");
  int connected = ::connect(fd, address.get(), address.length());
  if (connected != 0 && errno == EINPROGRESS) {
    pollfd ready = {fd, POLLOUT, 0};
    const int limit = static_cast<int>(absl::ToInt64Milliseconds(kConnectLimit));
    if (::poll(&ready, 1, limit) <= 0) {
      return absl::DeadlineExceededError(absl::StrCat("connect to ", address.text(), ": no answer"));
    }
    ASSIGN_OR_RETURN(const int error, int_socket_option(fd, SOL_SOCKET, SO_ERROR, "SO_ERROR"));
    connected = error == 0 ? 0 : -1;
    errno = error;
  }
  // Of a connect(2), this says that such a connection exists or that no port is left.
  if (connected != 0 && errno == EADDRNOTAVAIL) errno = EADDRINUSE;
  if (connected != 0) return address_status("connect to", address);
  if (::fcntl(fd, F_SETFL, flags) != 0) return errno_status(errno, "fcntl(F_SETFL) on a socket");
  return absl::OkStatus();
}

}  // namespace stillpoint
