// UDP and UDP-Lite sockets: unbound, bound, connected.
//
// Datagrams that wait are dropped, and that is noted: the network may do the same, and nobody but their sender could
// send them again. The exception are those the socket sent to itself (a way to wake up a poll loop), which are sent
// again.
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/socket.pb.h"
#include "helper/resources/socket_address.h"
#include "helper/resources/socket_common.h"
#include "helper/resources/socket_kinds.h"
#include "helper/resources/socket_multicast.h"
#include "helper/resources/socket_options.h"
#include "helper/resources/socket_queue.h"

namespace stillpoint {
namespace {

using resources::UdpSocketDetail;

// Bytes that were handed to the socket (UDP_CORK, MSG_MORE) and not sent. A packet on its way through a network card
// counts too, for a moment.
absl::StatusOr<int> unsent_bytes(int fd) {
  ASSIGN_OR_RETURN(int unsent, socket_ioctl(fd, SIOCOUTQ, "SIOCOUTQ"));
  for (int attempt = 0; unsent > 0 && attempt < 10; ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ASSIGN_OR_RETURN(unsent, socket_ioctl(fd, SIOCOUTQ, "SIOCOUTQ"));
  }
  return unsent;
}

// What waits to be received: the socket's own datagrams are kept, the rest is told.
absl::Status read_queue(int fd, const SocketAddress& local, UdpSocketDetail& detail) {
  ASSIGN_OR_RETURN(const short events, poll_now(fd, POLLIN));
  if ((events & POLLIN) == 0) return absl::OkStatus();
  // recvmsg would take a pending error away from the program.
  if ((events & POLLERR) != 0) {
    detail.set_datagrams_lost(true);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<QueuedMessage> queue, peek_messages(fd, kNoEndOfFile));
  for (const QueuedMessage& message : queue) {
    if (message.sender == local) {
      detail.add_own_datagrams(message.data);
    } else {
      detail.set_datagrams_lost(true);
    }
  }
  return absl::OkStatus();
}

absl::Status bind_local(int fd, const UdpSocketDetail& detail, SocketAddress local, absl::string_view object,
                        OpenFileRestoreContext& context) {
  if (local.empty() || local.port() == 0) return absl::OkStatus();
  if (::bind(fd, local.get(), local.length()) == 0) return absl::OkStatus();
  const int error = errno;
  // A client's address is the one it had on the machine it comes from: connect() finds the one to use here.
  if (!detail.peer().empty() && error == EADDRNOTAVAIL) {
    local.set_any();
    if (::bind(fd, local.get(), local.length()) == 0) {
      context.note(absl::StrCat(object, ": its local address is not one of this machine's; the port is the same"));
      return absl::OkStatus();
    }
  }
  return errno_status(error, absl::StrCat("bind to ", local.text()));
}

class UdpSocketKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "udp"; }

  bool claims(const OpenFileView& file) const override {
    const std::optional<SocketIdentity> identity = identify_socket(file);
    return identity.has_value() && (identity->domain == AF_INET || identity->domain == AF_INET6) &&
           identity->type == SOCK_DGRAM && (identity->protocol == IPPROTO_UDP || identity->protocol == IPPROTO_UDPLITE);
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext&, Findings& findings) const override {
    const absl::StatusOr<int> unsent = unsent_bytes(file.fd);
    if (!unsent.ok()) {
      findings.add(unreadable_socket(file, unsent.status()));
    } else if (*unsent > 0) {
      findings.add({"SP-UDP-CORKED", describe(file),
                    absl::StrCat("a datagram is being put together (UDP_CORK or MSG_MORE): ", *unsent,
                                 " bytes of it are held by the kernel, which does not give them back"),
                    "send it (clear UDP_CORK, or send without MSG_MORE) in a stillpoint::on_pre_dump hook"});
    }
    if (has_bpf_filter(file.fd)) findings.add(bpf_filter_finding(file));
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext&, model::OpenFile& out) const override {
    UdpSocketDetail detail;
    const std::optional<SocketIdentity> identity = identify_socket(file);
    if (!identity.has_value()) return absl::FailedPreconditionError("the socket cannot be asked");
    ASSIGN_OR_RETURN(const SocketAddress local, SocketAddress::local(file.fd));
    ASSIGN_OR_RETURN(const SocketAddress peer, SocketAddress::peer(file.fd));
    ASSIGN_OR_RETURN(*detail.mutable_settings(), read_socket_settings(file.fd, *identity));
    RETURN_IF_ERROR(read_memberships(file.fd, identity->domain, detail));
    RETURN_IF_ERROR(read_queue(file.fd, local, detail));
    ASSIGN_OR_RETURN(const short events, poll_now(file.fd, POLLRDHUP));
    detail.set_read_shut_down((events & POLLRDHUP) != 0);
    detail.set_domain(identity->domain);
    detail.set_protocol(identity->protocol);
    detail.set_local(local.bytes());
    detail.set_peer(peer.bytes());
    RETURN_IF_ERROR(store_detail(detail, file, out));
    out.set_description(absl::StrCat(out.description(), " udp ", local.text(),
                                     peer.empty() ? std::string() : absl::StrCat(" to ", peer.text())));
    return absl::OkStatus();
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const UdpSocketDetail detail, parse_detail<UdpSocketDetail>(file));
    if (detail.domain() != AF_INET && detail.domain() != AF_INET6) return damaged_detail(file, "not an address family");
    if (detail.protocol() != IPPROTO_UDP && detail.protocol() != IPPROTO_UDPLITE) {
      return damaged_detail(file, "not a protocol");
    }
    const absl::StatusOr<SocketAddress> local = SocketAddress::from_bytes(detail.local(), detail.domain());
    const absl::StatusOr<SocketAddress> peer = SocketAddress::from_bytes(detail.peer(), detail.domain());
    if (!local.ok()) return damaged_detail(file, local.status().message());
    if (!peer.ok()) return damaged_detail(file, peer.status().message());

    ASSIGN_OR_RETURN(UniqueFd fd, new_socket(detail.domain(), SOCK_DGRAM, detail.protocol()));
    const std::string& object = file.description();
    RETURN_IF_ERROR(apply_socket_settings(fd.get(), detail.settings(), SettingsPhase::kBeforeBind, object, context));
    RETURN_IF_ERROR(with_context(bind_local(fd.get(), detail, *local, object, context), describe(file)));
    RETURN_IF_ERROR(join_groups(fd.get(), detail, file, context));
    RETURN_IF_ERROR(send_to_itself(fd.get(), detail, *local, file));
    if (!peer->empty() && ::connect(fd.get(), peer->get(), peer->length()) != 0) {
      return errno_status(errno, absl::StrCat(describe(file), ": connect to ", peer->text()));
    }
    if (detail.read_shut_down() && ::shutdown(fd.get(), SHUT_RD) != 0 && errno != ENOTCONN) {
      return errno_status(errno, absl::StrCat("shutdown of ", describe(file)));
    }
    RETURN_IF_ERROR(apply_socket_settings(fd.get(), detail.settings(), SettingsPhase::kLast, object, context));
    if (detail.datagrams_lost()) {
      context.note(absl::StrCat(object, ": datagrams that waited to be received are lost, as UDP may lose them"));
    }
    return fd;
  }

 private:
  static absl::Status send_to_itself(int fd, const UdpSocketDetail& detail, const SocketAddress& local,
                                     const model::OpenFile& file) {
    if (detail.own_datagrams().empty()) return absl::OkStatus();
    if (local.port() == 0 || local.is_any()) return damaged_detail(file, "own datagrams without an address");
    for (const std::string& datagram : detail.own_datagrams()) {
      const ssize_t sent =
          ::sendto(fd, datagram.data(), datagram.size(), MSG_DONTWAIT | MSG_NOSIGNAL, local.get(), local.length());
      if (sent < 0) return errno_status(errno, absl::StrCat(describe(file), ": sendto ", local.text()));
    }
    return absl::OkStatus();
  }
};

}  // namespace

const OpenFileKind& udp_socket_kind() {
  static const auto& kind = *new UdpSocketKind;
  return kind;
}

}  // namespace stillpoint
