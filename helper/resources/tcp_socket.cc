// TCP sockets: fresh, bound, listening, connections within the image, and those whose connection has ended.
//
// The two ends of a connection come into being together: the one that is restored first makes both and leaves the other
// for its turn. They exist before any listener is bound, which may have the same port (fill()); shutdowns come last.
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/inherited.h"
#include "helper/resources/socket.pb.h"
#include "helper/resources/socket_address.h"
#include "helper/resources/socket_common.h"
#include "helper/resources/socket_kinds.h"
#include "helper/resources/socket_options.h"
#include "helper/resources/tcp_socket_pair.h"
#include "helper/resources/tcp_socket_queue.h"
#include "helper/resources/tcp_socket_survey.h"

namespace stillpoint {
namespace {

using resources::TcpSocketDetail;
using resources::TcpWaitingClient;

bool is_inet(int domain) { return domain == AF_INET || domain == AF_INET6; }

// Connections of the dead process that are in TIME_WAIT keep the port of a program that does not say SO_REUSEADDR.
absl::Status address_error(absl::string_view what, const SocketAddress& local) {
  const int error = errno;
  return errno_status(error, absl::StrCat(what, " ", local.text(),
                                          error == EADDRINUSE ? " (in use by another program, or for up to a minute by "
                                                                "connections that have just ended)"
                                                              : ""));
}

absl::Status bind_local(int fd, const TcpSocketDetail& detail, const SocketAddress& local) {
  if (local.empty() || (local.port() == 0 && local.is_any())) return absl::OkStatus();
  // An address without a port comes from IP_BIND_ADDRESS_NO_PORT only.
  ASSIGN_OR_RETURN(const int no_port,
                   int_socket_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT"));
  if (local.port() == 0) {
    RETURN_IF_ERROR(set_int_socket_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT"));
  }
  // Restored connections may have the same port.
  ASSIGN_OR_RETURN(const int reuse, int_socket_option(fd, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"));
  RETURN_IF_ERROR(set_int_socket_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  if (::bind(fd, local.get(), local.length()) != 0) return address_error("bind to", local);
  if (detail.listening() && ::listen(fd, detail.backlog()) != 0) return address_error("listen on", local);
  RETURN_IF_ERROR(set_int_socket_option(fd, SOL_SOCKET, SO_REUSEADDR, reuse, "SO_REUSEADDR"));
  return set_int_socket_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, no_port, "IP_BIND_ADDRESS_NO_PORT");
}

absl::Status check_detail(const model::OpenFile& file, const TcpSocketDetail& detail) {
  if (!is_inet(detail.domain())) return damaged_detail(file, "not an address family");
  if (detail.backlog() < 0) return damaged_detail(file, "a negative backlog");
  for (const std::string* address : {&detail.local(), &detail.peer_address()}) {
    const absl::Status status = SocketAddress::from_bytes(*address, detail.domain()).status();
    if (!status.ok()) return damaged_detail(file, status.message());
  }
  const bool connection = detail.peer_state() != TcpSocketDetail::NONE;
  if (connection && (detail.listening() || detail.ended())) return damaged_detail(file, "it cannot be connected");
  if (connection && (detail.local().empty() || detail.peer_address().empty() || !is_inet(detail.peer_domain()))) {
    return damaged_detail(file, "a connection without addresses");
  }
  if (!detail.queue().empty() && (!connection || detail.peer_state() == TcpSocketDetail::WAITING) && !detail.ended()) {
    return damaged_detail(file, "a queue without a connection");
  }
  if (!detail.waiting().empty() && !detail.listening()) return damaged_detail(file, "clients of no listener");
  return absl::OkStatus();
}

absl::StatusOr<SocketEnds> make_pair(const model::OpenFile& file, const TcpSocketDetail& detail,
                                     OpenFileRestoreContext& context) {
  TcpEnd own = {detail.domain(), {}, detail.v6_only()};
  TcpEnd other = {is_inet(detail.peer_domain()) ? detail.peer_domain() : detail.domain(), {}, detail.peer_v6_only()};
  if (!detail.ended()) {
    ASSIGN_OR_RETURN(own.address, SocketAddress::from_bytes(detail.local(), detail.domain()));
    ASSIGN_OR_RETURN(const SocketAddress peer, SocketAddress::from_bytes(detail.peer_address(), detail.domain()));
    other.address = peer.as_seen_by(other.domain);
    if (other.address.family() != other.domain) return damaged_detail(file, "its peer is of another family");
  }
  return make_tcp_pair(own, other, file.description(), context);
}

// The end of a connection that is this file's, made now or left by the other end.
absl::StatusOr<UniqueFd> take_end(const model::OpenFile& file, const TcpSocketDetail& detail,
                                  OpenFileRestoreContext& context) {
  bool left = false;
  const auto make = [&] { return make_pair(file, detail, context); };
  ASSIGN_OR_RETURN(UniqueFd own, take_socket_end(file, detail.peer(), context, make, left));
  if (!left) return own;
  const absl::StatusOr<int> domain = int_socket_option(own.get(), SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN");
  const absl::StatusOr<int> protocol = int_socket_option(own.get(), SOL_SOCKET, SO_PROTOCOL, "SO_PROTOCOL");
  if (!domain.ok() || *domain != detail.domain() || !protocol.ok() || *protocol != IPPROTO_TCP) {
    return damaged_detail(file, "its peer is of another kind");
  }
  return own;
}

// A connection whose other end has been closed, with what had come from it.
absl::StatusOr<UniqueFd> restore_without_other_end(const model::OpenFile& file, const TcpSocketDetail& detail,
                                                   OpenFileRestoreContext& context) {
  ASSIGN_OR_RETURN(SocketEnds pair, make_pair(file, detail, context));
  RETURN_IF_ERROR(send_all_tcp(pair.other.get(), detail.queue()));
  if (detail.reset_pending()) {
    const linger abort = {1, 0};
    if (::setsockopt(pair.other.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort) != 0) {
      return errno_status(errno, "setsockopt(SO_LINGER)");
    }
  }
  pair.other.reset();
  return std::move(pair.own);
}

// Fails for want of a connection where there never was one, and marks the socket as shut down all the same: reads then
// give end of file.
absl::Status shut_down(int fd, int how) {
  if (::shutdown(fd, how) == 0 || errno == ENOTCONN) return absl::OkStatus();
  return errno_status(errno, "shutdown");
}

absl::Status connect_waiting(const TcpWaitingClient& waiting, const OpenFileRestoreContext& context) {
  const int client = context.fd_of(waiting.open_file());
  const absl::StatusOr<SocketAddress> address = SocketAddress::from_bytes(waiting.address(), waiting.domain());
  if (client < 0 || !address.ok() || address->empty()) return absl::DataLossError("a client that waits is not there");
  const absl::StatusOr<int> domain = int_socket_option(client, SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN");
  if (!domain.ok() || *domain != waiting.domain()) return absl::DataLossError("a client that waits is of another kind");
  return connect_tcp(client, *address);
}

class TcpSocketKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "tcp"; }

  bool claims(const OpenFileView& file) const override {
    const std::optional<SocketIdentity> identity = identify_socket(file);
    return identity.has_value() && is_inet(identity->domain) && identity->protocol == IPPROTO_TCP;
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext& context, Findings& findings) const override {
    const absl::StatusOr<TcpSocketSurvey> survey = survey_tcp_socket(file, context, false);
    if (!survey.ok()) {
      findings.add(unreadable_socket(file, survey.status()));
      return;
    }
    for (const Finding& finding : survey->findings.all()) findings.add(finding);
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext& context, model::OpenFile& out) const override {
    ASSIGN_OR_RETURN(const TcpSocketSurvey survey, survey_tcp_socket(file, context, true));
    if (survey.inherited) return dump_inherited(file, out);
    if (!survey.findings.empty()) return absl::FailedPreconditionError(survey.findings.all().front().reason);
    RETURN_IF_ERROR(store_detail(survey.detail, file, out));
    out.set_description(absl::StrCat(out.description(), " ", survey.words));
    return absl::OkStatus();
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const TcpSocketDetail detail, parse_detail<TcpSocketDetail>(file));
    RETURN_IF_ERROR(check_detail(file, detail));
    absl::StatusOr<UniqueFd> fd = restore_socket(file, detail, context);
    if (!fd.ok()) return with_context(fd.status(), describe(file));
    return fd;
  }

  absl::Status fill(const model::OpenFile& file, int fd, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const TcpSocketDetail detail, parse_detail<TcpSocketDetail>(file));
    return with_context(fill_socket(detail, fd, context), describe(file));
  }

  absl::Status finish(const model::OpenFile& file, int fd, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const TcpSocketDetail detail, parse_detail<TcpSocketDetail>(file));
    if (detail.ended()) RETURN_IF_ERROR(with_context(shut_down(fd, SHUT_RDWR), describe(file)));
    if (detail.write_shut_down()) RETURN_IF_ERROR(with_context(shut_down(fd, SHUT_WR), describe(file)));
    if (detail.read_shut_down()) RETURN_IF_ERROR(with_context(shut_down(fd, SHUT_RD), describe(file)));
    if (detail.peer_state() != TcpSocketDetail::NONE) RETURN_IF_ERROR(set_reuse_address(detail, fd));
    return apply_socket_settings(fd, detail.settings(), SettingsPhase::kLast, file.description(), context);
  }

 private:
  static absl::StatusOr<UniqueFd> restore_socket(const model::OpenFile& file, const TcpSocketDetail& detail,
                                                 OpenFileRestoreContext& context) {
    UniqueFd fd;
    const bool has_waiting_end = !detail.queue().empty() || detail.reset_pending();
    if (detail.peer_state() == TcpSocketDetail::PAIR) {
      ASSIGN_OR_RETURN(fd, take_end(file, detail, context));
    } else if (detail.peer_state() == TcpSocketDetail::GONE || (detail.ended() && has_waiting_end)) {
      ASSIGN_OR_RETURN(fd, restore_without_other_end(file, detail, context));
    } else {
      ASSIGN_OR_RETURN(fd, new_socket(detail.domain(), SOCK_STREAM, IPPROTO_TCP));
    }
    RETURN_IF_ERROR(
        apply_socket_settings(fd.get(), detail.settings(), SettingsPhase::kBeforeBind, file.description(), context));
    if (detail.peer_state() == TcpSocketDetail::WAITING) RETURN_IF_ERROR(bind_waiting(detail, fd.get()));
    return fd;
  }

  static absl::Status bind_waiting(const TcpSocketDetail& detail, int fd) {
    ASSIGN_OR_RETURN(const SocketAddress local, SocketAddress::from_bytes(detail.local(), detail.domain()));
    if (detail.domain() == AF_INET6) {
      RETURN_IF_ERROR(set_int_socket_option(fd, SOL_IPV6, IPV6_V6ONLY, detail.v6_only() ? 1 : 0, "IPV6_V6ONLY"));
    }
    return bind_tcp_client(fd, local);
  }

  static absl::Status fill_socket(const TcpSocketDetail& detail, int fd, OpenFileRestoreContext& context) {
    if (detail.peer_state() == TcpSocketDetail::PAIR && !detail.queue().empty()) {
      const int other = context.fd_of(detail.peer());
      if (other < 0) return absl::DataLossError("the other end of its connection is missing");
      return send_all_tcp(other, detail.queue());
    }
    if (detail.ended() || detail.peer_state() != TcpSocketDetail::NONE) return absl::OkStatus();
    ASSIGN_OR_RETURN(const SocketAddress local, SocketAddress::from_bytes(detail.local(), detail.domain()));
    RETURN_IF_ERROR(bind_local(fd, detail, local));
    for (const TcpWaitingClient& waiting : detail.waiting()) RETURN_IF_ERROR(connect_waiting(waiting, context));
    return absl::OkStatus();
  }

  // On while the connection was made.
  static absl::Status set_reuse_address(const TcpSocketDetail& detail, int fd) {
    const bool is_set = std::any_of(detail.settings().options().begin(), detail.settings().options().end(),
                                    [](const auto& option) { return option.name() == "SO_REUSEADDR"; });
    return set_int_socket_option(fd, SOL_SOCKET, SO_REUSEADDR, is_set ? 1 : 0, "SO_REUSEADDR");
  }
};

}  // namespace

const OpenFileKind& tcp_socket_kind() {
  static const auto& kind = *new TcpSocketKind;
  return kind;
}

}  // namespace stillpoint
