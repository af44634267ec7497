// TCP sockets without a connection: fresh, bound, listening, and those whose connection has ended.
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/inherited.h"
#include "helper/resources/remedies.h"
#include "helper/resources/socket.pb.h"
#include "helper/resources/socket_address.h"
#include "helper/resources/socket_common.h"
#include "helper/resources/socket_kinds.h"
#include "helper/resources/socket_options.h"

namespace stillpoint {
namespace {

using resources::TcpSocketDetail;

// tcpi_state; <netinet/tcp.h> has these names but not the newer fields of struct tcp_info.
enum TcpState : uint8_t { kEstablished = 1, kClose = 7, kListen = 10 };
constexpr absl::string_view kStateNames[] = {"UNKNOWN",   "ESTABLISHED", "SYN_SENT",    "SYN_RECV",   "FIN_WAIT1",
                                             "FIN_WAIT2", "TIME_WAIT",   "CLOSE",       "CLOSE_WAIT", "LAST_ACK",
                                             "LISTEN",    "CLOSING",     "NEW_SYN_RECV"};

constexpr absl::string_view kConnectionRemedy =
    "close it in a stillpoint::on_pre_dump hook and connect again in stillpoint::on_post_resume and "
    "stillpoint::on_post_restore (dup2 gives it the same number); or checkpoint when it is closed";

std::string state_name(uint8_t state) {
  return std::string(state < std::size(kStateNames) ? kStateNames[state] : absl::string_view("UNKNOWN"));
}

struct TcpFacts {
  uint8_t state = 0;
  uint32_t pending = 0;  // listening: connections that nobody has accepted
  uint32_t backlog = 0;
  bool ended = false;
  int unread = 0;
  SocketAddress local;
  SocketAddress peer;
};

absl::StatusOr<TcpFacts> read_facts(int fd) {
  TcpFacts facts;
  tcp_info info = {};
  socklen_t length = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return errno_status(errno, "getsockopt(TCP_INFO)");
  if (length < offsetof(tcp_info, tcpi_lost)) return absl::DataLossError("TCP_INFO is too short");
  facts.state = info.tcpi_state;
  ASSIGN_OR_RETURN(facts.local, SocketAddress::local(fd));
  ASSIGN_OR_RETURN(facts.peer, SocketAddress::peer(fd));
  if (facts.state == kListen) {
    facts.pending = info.tcpi_unacked;
    facts.backlog = info.tcpi_sacked;
  } else if (facts.state == kClose) {
    // A socket that never was connected has not been shut down; one whose connection ended has.
    ASSIGN_OR_RETURN(const short events, poll_now(fd, POLLRDHUP));
    facts.ended = (events & (POLLRDHUP | POLLERR)) != 0;
    if (facts.ended) {
      ASSIGN_OR_RETURN(facts.unread, socket_ioctl(fd, SIOCINQ, "SIOCINQ"));
    }
  }
  return facts;
}

bool connected(const TcpFacts& facts) { return facts.state != kListen && facts.state != kClose; }

void audit_state(const OpenFileView& file, const TcpFacts& facts, Findings& findings) {
  if (connected(facts)) {
    const std::string peer = facts.peer.empty() ? "" : absl::StrCat(" with ", facts.peer.text());
    findings.add({"SP-TCP-ESTABLISHED", describe(file),
                  absl::StrCat("a TCP connection", peer, " (", state_name(facts.state), ", local address ",
                               facts.local.text(), ") cannot be part of an image"),
                  unless_leaked(file, kConnectionRemedy)});
  }
  if (facts.pending > 0) {
    findings.add({"SP-TCP-PENDING", describe(file),
                  absl::StrCat(facts.pending, " connection(s) to ", facts.local.text(), " wait to be accepted"),
                  "accept them in a stillpoint::on_pre_dump hook, or checkpoint when no client is connecting"});
  }
  if (facts.unread > 0) {
    findings.add({"SP-TCP-UNREAD", describe(file),
                  absl::StrCat(facts.unread, " bytes of a connection that has ended were not read yet"),
                  "read them and close the socket before the checkpoint"});
  }
}

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
  if (::bind(fd, local.get(), local.length()) != 0) return address_error("bind to", local);
  if (detail.listening() && ::listen(fd, detail.backlog()) != 0) return address_error("listen on", local);
  return set_int_socket_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, no_port, "IP_BIND_ADDRESS_NO_PORT");
}

class TcpSocketKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "tcp"; }

  bool claims(const OpenFileView& file) const override {
    const std::optional<SocketIdentity> identity = identify_socket(file);
    return identity.has_value() && (identity->domain == AF_INET || identity->domain == AF_INET6) &&
           identity->protocol == IPPROTO_TCP;
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext& context, Findings& findings) const override {
    const absl::StatusOr<TcpFacts> facts = read_facts(file.fd);
    if (!facts.ok()) {
      findings.add(unreadable_socket(file, facts.status()));
      return;
    }
    if (connected(*facts) && context.inherited(file)) return;
    audit_state(file, *facts, findings);
    if (has_bpf_filter(file.fd)) findings.add(bpf_filter_finding(file));
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext& context, model::OpenFile& out) const override {
    TcpSocketDetail detail;
    ASSIGN_OR_RETURN(const TcpFacts facts, read_facts(file.fd));
    if (connected(facts) && context.inherited(file)) return dump_inherited(file, out);
    Findings findings;
    audit_state(file, facts, findings);
    if (!findings.empty()) return absl::FailedPreconditionError(findings.all().front().reason);
    const std::optional<SocketIdentity> identity = identify_socket(file);
    if (!identity.has_value()) return absl::FailedPreconditionError("the socket cannot be asked");
    ASSIGN_OR_RETURN(*detail.mutable_settings(), read_socket_settings(file.fd, *identity));
    detail.set_domain(identity->domain);
    detail.set_listening(facts.state == kListen);
    detail.set_backlog(static_cast<int32_t>(std::min<uint32_t>(facts.backlog, INT32_MAX)));
    detail.set_ended(facts.ended);
    if (!facts.ended) detail.set_local(facts.local.bytes());
    RETURN_IF_ERROR(store_detail(detail, file, out));
    out.set_description(absl::StrCat(out.description(), " tcp ", facts.local.text(),
                                     facts.state == kListen ? " listening"
                                     : facts.ended          ? " ended"
                                                            : ""));
    return absl::OkStatus();
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const TcpSocketDetail detail, parse_detail<TcpSocketDetail>(file));
    if (detail.domain() != AF_INET && detail.domain() != AF_INET6) return damaged_detail(file, "not an address family");
    const absl::StatusOr<SocketAddress> local = SocketAddress::from_bytes(detail.local(), detail.domain());
    if (!local.ok()) return damaged_detail(file, local.status().message());
    if (detail.backlog() < 0) return damaged_detail(file, "a negative backlog");

    ASSIGN_OR_RETURN(UniqueFd fd, new_socket(detail.domain(), SOCK_STREAM, IPPROTO_TCP));
    RETURN_IF_ERROR(
        apply_socket_settings(fd.get(), detail.settings(), SettingsPhase::kBeforeBind, file.description(), context));
    RETURN_IF_ERROR(with_context(bind_local(fd.get(), detail, *local), describe(file)));
    // Fails for want of a connection, and marks the socket as shut down all the same: reads then give end of file.
    if (detail.ended() && ::shutdown(fd.get(), SHUT_RDWR) != 0 && errno != ENOTCONN) {
      return errno_status(errno, absl::StrCat("shutdown of ", describe(file)));
    }
    RETURN_IF_ERROR(
        apply_socket_settings(fd.get(), detail.settings(), SettingsPhase::kLast, file.description(), context));
    return fd;
  }
};

}  // namespace

const OpenFileKind& tcp_socket_kind() {
  static const auto& kind = *new TcpSocketKind;
  return kind;
}

}  // namespace stillpoint
