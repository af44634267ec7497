#include "helper/resources/tcp_socket_survey.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/remedies.h"
#include "helper/resources/socket_address.h"
#include "helper/resources/socket_common.h"
#include "helper/resources/socket_options.h"
#include "helper/resources/tcp_socket_diag.h"
#include "helper/resources/tcp_socket_queue.h"

namespace stillpoint {
namespace {

using resources::TcpSocketDetail;

constexpr absl::string_view kConnectionRemedy =
    "close it in a stillpoint::on_pre_dump hook and connect again in stillpoint::on_post_resume and "
    "stillpoint::on_post_restore (dup2 gives it the same number); or checkpoint when it is closed";
constexpr absl::string_view kLaterRemedy = "checkpoint again when it has been received";

// Those that a connection has by itself, not because the program has set them.
constexpr absl::string_view kConnectionsOwn[] = {"TCP_MAXSEG", "TCP_WINDOW_CLAMP", "IPV6_V6ONLY"};
constexpr int kSoBufLock = 72;  // SO_BUF_LOCK, Linux 5.14
constexpr int kSendBufferLocked = 1;
constexpr int kReceiveBufferLocked = 2;

bool connected(uint8_t state) { return state != kTcpListen && state != kTcpClose; }
bool has_sent_fin(uint8_t state) {
  return state == kTcpFinWait1 || state == kTcpFinWait2 || state == kTcpClosing || state == kTcpLastAck ||
         state == kTcpTimeWait;
}
bool has_received_fin(uint8_t state) {
  return state == kTcpCloseWait || state == kTcpClosing || state == kTcpLastAck || state == kTcpTimeWait;
}

bool is_v6_only(int fd, int domain) {
  if (domain != AF_INET6) return false;
  return int_socket_option(fd, SOL_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY").value_or(0) != 0;
}

// "tls" for a socket that the kernel encrypts.
std::string upper_protocol(int fd) {
  std::array<char, 16> name = {};
  socklen_t length = name.size();
  if (::getsockopt(fd, IPPROTO_TCP, TCP_ULP, name.data(), &length) != 0) return "";
  return std::string(name.data(), ::strnlen(name.data(), std::min<size_t>(length, name.size())));
}

class Survey {
 public:
  Survey(const OpenFileView& file, const OpenFileDumpContext& context, bool with_data)
      : file_(file), context_(context), with_data_(with_data) {}

  absl::StatusOr<TcpSocketSurvey> run() {
    const std::optional<SocketIdentity> identity = identify_socket(file_);
    if (!identity.has_value()) return absl::FailedPreconditionError("the socket cannot be asked");
    detail().set_domain(identity->domain);
    RETURN_IF_ERROR(read_addresses());
    if (connected(state_)) RETURN_IF_ERROR(survey_connection());
    if (out_.inherited) return std::move(out_);
    if (state_ == kTcpListen) RETURN_IF_ERROR(survey_listener());
    if (state_ == kTcpClose) RETURN_IF_ERROR(survey_closed());
    if (has_bpf_filter(file_.fd)) out_.findings.add(bpf_filter_finding(file_));
    if (!out_.findings.empty()) return std::move(out_);
    ASSIGN_OR_RETURN(*detail().mutable_settings(), read_socket_settings(file_.fd, *identity));
    if (detail().ended() || detail().peer_state() != TcpSocketDetail::NONE) leave_out_own_settings();
    describe_it();
    return std::move(out_);
  }

 private:
  TcpSocketDetail& detail() { return out_.detail; }

  void refuse(absl::string_view code, std::string reason, absl::string_view remedy) {
    out_.findings.add({std::string(code), describe(file_), std::move(reason), std::string(remedy)});
  }

  absl::Status read_addresses() {
    ASSIGN_OR_RETURN(state_, tcp_state(file_.fd));
    ASSIGN_OR_RETURN(local_, SocketAddress::local(file_.fd));
    ASSIGN_OR_RETURN(peer_, SocketAddress::peer(file_.fd));
    return absl::OkStatus();
  }

  // Both ends are looked at when what they had sent has been delivered: states change with it.
  absl::Status survey_connection() {
    if (peer_.empty()) {
      refuse_external("");
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(diag_, TcpDiag::open());
    RETURN_IF_ERROR(find_other_end());
    bool all_delivered = true;
    if (other_ != nullptr) {
      ASSIGN_OR_RETURN(const bool here, deliver_tcp(other_->fd, file_.fd, context_.delivery_deadline()));
      ASSIGN_OR_RETURN(const bool there, deliver_tcp(file_.fd, other_->fd, context_.delivery_deadline()));
      all_delivered = here;
      // What has not arrived there is the other end's to say.
      static_cast<void>(there);
    } else if (info_.has_value() && info_->inode == 0) {
      ASSIGN_OR_RETURN(all_delivered, deliver_tcp(file_.fd, file_.fd, context_.delivery_deadline()));
    }
    ASSIGN_OR_RETURN(state_, tcp_state(file_.fd));
    if (!connected(state_)) return absl::OkStatus();  // that was the last of it
    RETURN_IF_ERROR(find_other_end());
    if (!classify(all_delivered)) return absl::OkStatus();
    return keep_connection(all_delivered);
  }

  absl::Status find_other_end() {
    info_.reset();
    other_ = nullptr;
    absl::StatusOr<TcpSocketInfo> info = diag_->connection(peer_, local_);
    if (absl::IsNotFound(info.status())) return absl::OkStatus();
    RETURN_IF_ERROR(info.status());
    info_ = *std::move(info);
    if (info_->inode == 0) return absl::OkStatus();
    other_id_ = context_.open_file_of_inode(info_->inode, context_.open_file_of(file_.pid, file_.number));
    other_ = context_.view_of(other_id_);
    if (other_ != nullptr && other_->fd < 0) other_ = nullptr;
    return absl::OkStatus();
  }

  // What the other end is; false: it is in the way.
  bool classify(bool all_delivered) {
    detail().set_write_shut_down(has_sent_fin(state_));
    if (other_ != nullptr) {
      detail().set_peer_state(TcpSocketDetail::PAIR);
      return true;
    }
    const bool of_this_host = peer_.is_loopback() || peer_.same_host(local_);
    if (info_.has_value() && info_->inode == 0 && (info_->state == kTcpEstablished || info_->state == kTcpCloseWait)) {
      return classify_waiting(all_delivered);
    }
    // A connection to this host whose other end no process has any more.
    const bool nobody = info_.has_value() ? info_->inode == 0 : of_this_host;
    if (nobody && state_ == kTcpCloseWait) {
      detail().set_peer_state(TcpSocketDetail::GONE);
      return true;
    }
    refuse_external(info_.has_value() && info_->inode != 0 ? holder_of_socket(info_->inode) : "");
    return false;
  }

  // The other end waits in the queue of a listener, where nobody can look into it.
  bool classify_waiting(bool all_delivered) {
    uint64_t listener = 0;
    const absl::StatusOr<std::vector<TcpSocketInfo>> sockets = diag_->at_port(peer_.port());
    size_t listeners = 0;
    for (const TcpSocketInfo& socket : sockets.ok() ? *sockets : std::vector<TcpSocketInfo>()) {
      if (socket.state != kTcpListen) continue;
      ++listeners;
      listener = context_.open_file_of_inode(socket.inode, 0);
    }
    if (listeners != 1 || listener == 0) {
      refuse_external(listeners > 1 ? ", one of several sockets that listen at that port" : "");
      return false;
    }
    if (info_->receive_queue != 0 || !all_delivered) {
      refuse("SP-TCP-PENDING",
             absl::StrCat("what it has sent to ", peer_.text(),
                          " waits where nobody can read it, since the connection has not been accepted yet"),
             "accept connections before the checkpoint, or checkpoint again a moment later");
      return false;
    }
    detail().set_peer_state(TcpSocketDetail::WAITING);
    return true;
  }

  void refuse_external(const std::string& holder) {
    if (context_.inherited(file_)) {
      out_.inherited = true;
      return;
    }
    const std::string peer = peer_.empty() ? "" : absl::StrCat(" with ", peer_.text());
    refuse("SP-TCP-ESTABLISHED",
           absl::StrCat("a TCP connection", peer, holder, " (", tcp_state_name(state_), ", local address ",
                        local_.text(), ") cannot be part of an image"),
           unless_leaked(file_, kConnectionRemedy));
  }

  absl::Status keep_connection(bool all_delivered) {
    detail().set_local(local_.bytes());
    detail().set_peer_address(peer_.bytes());
    detail().set_peer_domain(detail().domain());
    detail().set_v6_only(is_v6_only(file_.fd, detail().domain()));
    detail().set_peer_v6_only(detail().v6_only());
    if (const std::string protocol = upper_protocol(file_.fd); !protocol.empty()) {
      refuse("SP-TCP-ULP", absl::StrCat("the kernel speaks a protocol of its own (", protocol, ") on it"),
             kConnectionRemedy);
      return absl::OkStatus();
    }
    if (other_ != nullptr) {
      detail().set_peer(other_id_);
      ASSIGN_OR_RETURN(const int domain, int_socket_option(other_->fd, SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN"));
      detail().set_peer_domain(domain);
      detail().set_peer_v6_only(is_v6_only(other_->fd, domain));
    }
    ASSIGN_OR_RETURN(const short events, poll_now(file_.fd, POLLRDHUP | POLLPRI));
    detail().set_read_shut_down((events & POLLRDHUP) != 0 && !has_received_fin(state_));
    if (!refuse_events(events)) return absl::OkStatus();
    if (!all_delivered && (other_ == nullptr || !can_repair_tcp())) {
      refuse("SP-TCP-IN-FLIGHT",
             "something that the other end has sent has no room in its receive queue yet, and to read it where it is "
             "takes CAP_NET_ADMIN",
             absl::StrCat(kLaterRemedy, "; or give the helper CAP_NET_ADMIN"));
      return absl::OkStatus();
    }
    if (!with_data_ || !out_.findings.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(*detail().mutable_queue(),
                     all_delivered ? read_delivered_tcp(file_.fd) : read_undelivered_tcp(other_->fd, file_.fd));
    return absl::OkStatus();
  }

  bool refuse_events(short events) {
    if ((events & POLLPRI) != 0) {
      refuse("SP-TCP-OOB", "out-of-band data (MSG_OOB) waits in it", kLaterRemedy);
    } else if ((events & POLLERR) != 0) {
      refuse("SP-TCP-ERROR", "an error, or a message about what it has sent, is pending on it",
             "read SO_ERROR and the error queue (MSG_ERRQUEUE) before the checkpoint");
    } else {
      return true;
    }
    return false;
  }

  absl::Status survey_listener() {
    tcp_info info = {};
    socklen_t length = sizeof info;
    if (::getsockopt(file_.fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) {
      return errno_status(errno, "getsockopt(TCP_INFO)");
    }
    detail().set_listening(true);
    detail().set_local(local_.bytes());
    detail().set_backlog(static_cast<int32_t>(std::min<uint32_t>(info.tcpi_sacked, INT32_MAX)));
    if (info.tcpi_unacked == 0) return absl::OkStatus();
    RETURN_IF_ERROR(find_waiting_clients());
    if (static_cast<uint32_t>(detail().waiting_size()) == info.tcpi_unacked) return absl::OkStatus();
    refuse("SP-TCP-PENDING",
           absl::StrCat(info.tcpi_unacked, " connection(s) to ", local_.text(), " wait to be accepted, of which ",
                        detail().waiting_size(), " come from processes of the image"),
           "accept them in a stillpoint::on_pre_dump hook, or checkpoint when no client is connecting");
    return absl::OkStatus();
  }

  absl::Status find_waiting_clients() {
    ASSIGN_OR_RETURN(diag_, TcpDiag::open());
    ASSIGN_OR_RETURN(const std::vector<TcpSocketInfo> sockets, diag_->at_port(local_.port()));
    for (const TcpSocketInfo& socket : sockets) {
      if (socket.inode != 0 || (socket.state != kTcpEstablished && socket.state != kTcpCloseWait)) continue;
      const absl::StatusOr<TcpSocketInfo> client = diag_->connection(socket.peer, socket.local);
      if (!client.ok() || client->inode == 0) continue;
      const uint64_t id = context_.open_file_of_inode(client->inode, 0);
      if (id == 0) continue;
      resources::TcpWaitingClient& waiting = *detail().add_waiting();
      waiting.set_open_file(id);
      waiting.set_domain(client->peer.family());
      waiting.set_address(client->peer.bytes());
    }
    return absl::OkStatus();
  }

  // A socket that never was connected has not been shut down; one whose connection ended has.
  absl::Status survey_closed() {
    ASSIGN_OR_RETURN(const short events, poll_now(file_.fd, POLLRDHUP | POLLPRI));
    detail().set_ended((events & (POLLRDHUP | POLLERR)) != 0);
    if (!detail().ended()) {
      detail().set_local(local_.bytes());
      return absl::OkStatus();
    }
    detail().set_reset_pending((events & POLLERR) != 0);
    if ((events & POLLPRI) != 0) refuse("SP-TCP-OOB", "out-of-band data (MSG_OOB) waits in it", kLaterRemedy);
    if (with_data_ && out_.findings.empty()) {
      ASSIGN_OR_RETURN(*detail().mutable_queue(), read_delivered_tcp(file_.fd));
    }
    return absl::OkStatus();
  }

  // The kernel sizes a connection's buffers itself, unless the program has.
  void leave_out_own_settings() {
    const int locks = int_socket_option(file_.fd, SOL_SOCKET, kSoBufLock, "SO_BUF_LOCK").value_or(0);
    const auto is_own = [&](const resources::SocketOption& option) {
      if (option.name() == "SO_SNDBUF") return (locks & kSendBufferLocked) == 0;
      if (option.name() == "SO_RCVBUF") return (locks & kReceiveBufferLocked) == 0;
      return std::find(std::begin(kConnectionsOwn), std::end(kConnectionsOwn), option.name()) !=
             std::end(kConnectionsOwn);
    };
    auto& options = *detail().mutable_settings()->mutable_options();
    options.erase(std::remove_if(options.begin(), options.end(), is_own), options.end());
  }

  void describe_it() {
    out_.words = absl::StrCat("tcp ", local_.text());
    if (detail().listening()) {
      absl::StrAppend(&out_.words, " listening");
    } else if (detail().ended()) {
      absl::StrAppend(&out_.words, " ended");
    } else if (detail().peer_state() == TcpSocketDetail::PAIR) {
      absl::StrAppend(&out_.words, " with ", peer_.text(), ", open file ", other_id_);
    } else if (detail().peer_state() != TcpSocketDetail::NONE) {
      absl::StrAppend(&out_.words, " with ", peer_.text(),
                      detail().peer_state() == TcpSocketDetail::GONE ? ", which is closed" : ", not accepted yet");
    }
  }

  const OpenFileView& file_;
  const OpenFileDumpContext& context_;
  const bool with_data_;
  std::optional<TcpDiag> diag_;
  std::optional<TcpSocketInfo> info_;  // of the other end, where it is on this host
  const OpenFileView* other_ = nullptr;
  uint64_t other_id_ = 0;
  uint8_t state_ = 0;
  SocketAddress local_;
  SocketAddress peer_;
  TcpSocketSurvey out_;
};

}  // namespace

absl::StatusOr<TcpSocketSurvey> survey_tcp_socket(const OpenFileView& file, const OpenFileDumpContext& context,
                                                  bool with_data) {
  return Survey(file, context, with_data).run();
}

}  // namespace stillpoint
