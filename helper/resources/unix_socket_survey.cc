#include "helper/resources/unix_socket_survey.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/fdinfo.h"
#include "helper/resources/remedies.h"
#include "helper/resources/socket_address.h"
#include "helper/resources/socket_common.h"
#include "helper/resources/socket_diag.h"
#include "helper/resources/socket_options.h"
#include "helper/resources/socket_queue.h"
#include "helper/resources/unix_socket_name.h"

namespace stillpoint {
namespace {

using resources::UnixMessage;
using resources::UnixSocketDetail;

constexpr int kListenState = 10;  // TCP_LISTEN
constexpr uint8_t kShutForReading = 1;
constexpr uint8_t kShutForWriting = 2;
constexpr absl::string_view kReleaseRemedy =
    "close it in a stillpoint::on_pre_dump hook and connect again in stillpoint::on_post_resume and "
    "stillpoint::on_post_restore (dup2 gives it the same number)";

absl::string_view type_name(int type) {
  return type == SOCK_STREAM ? "stream" : type == SOCK_DGRAM ? "datagram" : "seqpacket";
}

class Survey {
 public:
  Survey(const OpenFileView& file, const OpenFileDumpContext& context, SocketDiag diag)
      : file_(file), context_(context), diag_(std::move(diag)) {}

  absl::StatusOr<UnixSocketSurvey> run() {
    ASSIGN_OR_RETURN(self_, diag_.unix_socket(file_.stat.st_ino));
    id_ = context_.open_file_of(file_.pid, file_.number);
    detail().set_type(self_.type);
    detail().set_number(file_.number);
    out_.words = absl::StrCat("unix ", type_name(self_.type));
    RETURN_IF_ERROR(read_peer());
    if (out_.inherited) return std::move(out_);
    read_name();
    read_listener();
    read_passed_fds();
    if (has_bpf_filter(file_.fd)) out_.findings.add(bpf_filter_finding(file_));
    if (detail().peer_state() == UnixSocketDetail::PAIR) RETURN_IF_ERROR(find_listener_of_pair());
    detail().set_read_shut_down((self_.shutdown & kShutForReading) != 0);
    detail().set_write_shut_down((self_.shutdown & kShutForWriting) != 0);
    if (!out_.findings.empty()) return std::move(out_);  // what follows reads the queue
    RETURN_IF_ERROR(read_queue());
    ASSIGN_OR_RETURN(*detail().mutable_settings(), read_socket_settings(file_.fd, {AF_UNIX, self_.type, 0}));
    return std::move(out_);
  }

 private:
  UnixSocketDetail& detail() { return out_.detail; }
  bool datagram() const { return self_.type == SOCK_DGRAM; }

  void refuse(absl::string_view code, std::string reason, absl::string_view remedy) {
    out_.findings.add({std::string(code), describe(file_), std::move(reason), std::string(remedy)});
  }

  absl::Status read_peer() {
    if (!self_.has_peer) return absl::OkStatus();
    if (self_.peer_inode == 0) {
      // A stream whose other end is gone is shut down both ways; otherwise the other end waits to be accepted.
      const uint8_t both = kShutForReading | kShutForWriting;
      if (datagram() || (self_.shutdown & both) == both) {
        detail().set_peer_state(UnixSocketDetail::GONE);
        absl::StrAppend(&out_.words, ", the other end is closed");
      } else {
        return read_waiting();
      }
      return absl::OkStatus();
    }
    const uint64_t peer = context_.open_file_of_inode(self_.peer_inode, id_);
    absl::StatusOr<UnixSocketInfo> info = diag_.unix_socket(self_.peer_inode);
    if (!info.ok() && !absl::IsNotFound(info.status())) return info.status();
    if (peer == 0 || !info.ok()) {
      refuse_external(self_.peer_inode);
      return absl::OkStatus();
    }
    peer_ = *std::move(info);
    detail().set_peer(peer);
    if (peer_.has_peer && peer_.peer_inode == self_.inode) {
      detail().set_peer_state(UnixSocketDetail::PAIR);
      absl::StrAppend(&out_.words, " pair with open file ", peer);
    } else if (datagram() && !peer_.name.empty()) {
      detail().set_peer_state(UnixSocketDetail::TARGET);
      *detail().mutable_target() = read_unix_name(file_.pid, peer_.name, peer_.file_inode);
      absl::StrAppend(&out_.words, " to ", unix_name_text(detail().target()));
    } else {
      refuse("SP-UNIX-ONEWAY", "it is connected to a nameless socket that is not connected back", kReleaseRemedy);
    }
    return absl::OkStatus();
  }

  // Its other end waits in the queue of a listener, where nobody can look into it.
  absl::Status read_waiting() {
    ASSIGN_OR_RETURN(const std::vector<UnixSocketInfo> sockets, diag_.all_unix_sockets());
    const auto listener = std::find_if(sockets.begin(), sockets.end(), [&](const UnixSocketInfo& socket) {
      const std::vector<uint64_t>& clients = socket.waiting_clients;
      return std::find(clients.begin(), clients.end(), self_.inode) != clients.end();
    });
    if (listener == sockets.end() || context_.open_file_of_inode(listener->inode, id_) == 0) {
      refuse_external(0);
    } else if (self_.send_memory != 0) {
      refuse("SP-UNIX-PENDING",
             "what it has sent waits where nobody can read it, since the connection has not been accepted yet",
             "accept connections before the checkpoint, or checkpoint again a moment later");
    } else {
      detail().set_peer_state(UnixSocketDetail::WAITING);
      absl::StrAppend(&out_.words, ", not accepted yet");
    }
    return absl::OkStatus();
  }

  void refuse_external(uint64_t peer_inode) {
    if (context_.inherited(file_)) {
      out_.inherited = true;
      return;
    }
    const absl::StatusOr<SocketAddress> address = SocketAddress::peer(file_.fd);
    const std::string name = address.ok() && !address->unix_name().empty() ? absl::StrCat(" ", address->text()) : "";
    const std::string peer = peer_inode == 0
                                 ? "that nobody has accepted yet"
                                 : absl::StrCat("with the socket of inode ", peer_inode, holder_of_socket(peer_inode));
    refuse("SP-UNIX-EXTERNAL", absl::StrCat("a connection", name, " ", peer, ", which is not part of the image"),
           unless_leaked(file_, kReleaseRemedy));
  }

  void read_name() {
    if (self_.name.empty()) return;
    *detail().mutable_name() = read_unix_name(file_.pid, self_.name, self_.file_inode);
    const bool needed = datagram() || self_.state == kListenState || !self_.has_peer;
    if (needed && is_relative(detail().name()) && detail().name().directory().empty()) {
      refuse("SP-UNIX-RELATIVE",
             absl::StrCat("it is bound to the relative path ", unix_name_text(detail().name()),
                          ", which does not lead to it from the current working directory"),
             "bind to an absolute path; or close it in a stillpoint::on_pre_dump hook and bind again in "
             "stillpoint::on_post_resume and stillpoint::on_post_restore");
    }
    if (self_.state != kListenState) absl::StrAppend(&out_.words, " ", unix_name_text(detail().name()));
  }

  void read_listener() {
    if (self_.state != kListenState) return;
    absl::StrAppend(&out_.words, " listening on ", unix_name_text(detail().name()));
    detail().set_listening(true);
    detail().set_backlog(static_cast<int32_t>(std::min<uint32_t>(self_.backlog, INT32_MAX)));
    if (self_.receive_queue == 0) return;
    for (const uint64_t inode : self_.waiting_clients) {
      const uint64_t client = inode != 0 ? context_.open_file_of_inode(inode, id_) : 0;
      if (client != 0) detail().add_waiting(client);
    }
    const auto inside = static_cast<uint32_t>(detail().waiting_size());
    const bool has_lost_its_path = is_path(detail().name()) && !detail().name().has_file();
    if (inside == self_.receive_queue && !has_lost_its_path) return;
    refuse("SP-UNIX-PENDING",
           absl::StrCat(self_.receive_queue, " connection(s) wait to be accepted, of which ", inside,
                        " come from processes of the image", has_lost_its_path ? "; its path is gone" : ""),
           "accept them in a stillpoint::on_pre_dump hook, or checkpoint when no client is connecting");
  }

  // Only kernels since 5.11 show this in fdinfo; for the others the messages' control data is looked at.
  void read_passed_fds() {
    if (fdinfo_lines(file_, "scm_fds:").empty()) return;
    const absl::StatusOr<uint64_t> count = fdinfo_unsigned(file_, "scm_fds", 10);
    if (count.ok() && *count == 0) return;
    refuse_passed_fds();
  }

  void refuse_passed_fds() {
    refuse("SP-UNIX-SCM", "file descriptors wait in it that were sent (SCM_RIGHTS) and not received yet",
           "receive them before the checkpoint");
  }

  // An accepted socket has its listener's name, which bind(2) would not give it again: the pair is connected anew.
  absl::Status find_listener_of_pair() {
    if (datagram() || (self_.name.empty() && peer_.name.empty())) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::vector<UnixSocketInfo> sockets, diag_.all_unix_sockets());
    for (const UnixSocketInfo& socket : sockets) {
      if (socket.state != kListenState || socket.name.empty()) continue;
      const bool accepted = socket.name == self_.name;
      if (!accepted && socket.name != peer_.name) continue;
      const uint64_t listener = context_.open_file_of_inode(socket.inode, id_);
      if (listener == 0) continue;
      detail().set_listener(listener);
      detail().set_accepted(accepted);
      *detail().mutable_target() = read_unix_name(file_.pid, socket.name, socket.file_inode);
      if (accepted) detail().clear_name();
      return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  absl::Status read_queue() {
    if (detail().listening()) return absl::OkStatus();
    const bool connected = self_.has_peer;
    if (!connected && !datagram()) return absl::OkStatus();  // has never held anything
    ASSIGN_OR_RETURN(const short events, poll_now(file_.fd, POLLIN | POLLPRI));
    ASSIGN_OR_RETURN(const int unread, socket_ioctl(file_.fd, SIOCINQ, "SIOCINQ"));
    if (self_.type == SOCK_STREAM && (events & POLLPRI) != 0) {
      refuse("SP-UNIX-OOB", "out-of-band data (MSG_OOB) waits in it", "receive it before the checkpoint");
      return absl::OkStatus();
    }
    if ((events & POLLERR) != 0 && !read_error(unread)) return absl::OkStatus();
    if ((events & POLLIN) == 0) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::vector<QueuedMessage> queue, peek_queue(unread, (events & POLLERR) != 0));
    return keep_messages(queue, unread);
  }

  // Whether the pending error can be brought about again and the queue be read without taking the error away.
  bool read_error(int unread) {
    if (detail().peer_state() == UnixSocketDetail::GONE && !datagram() && (self_.type == SOCK_STREAM || unread == 0)) {
      detail().set_reset_pending(true);
      return true;
    }
    refuse("SP-UNIX-ERROR", "an error is pending on it, which reading its queue would take away",
           "receive from it, or read SO_ERROR, before the checkpoint");
    return false;
  }

  absl::StatusOr<std::vector<QueuedMessage>> peek_queue(int unread, bool error_pending) {
    if (self_.type == SOCK_STREAM) {
      ASSIGN_OR_RETURN(const int credentials, int_socket_option(file_.fd, SOL_SOCKET, SO_PASSCRED, "SO_PASSCRED"));
      if (credentials == 0 || error_pending) {
        std::vector<QueuedMessage> queue;
        if (unread == 0) return queue;
        ASSIGN_OR_RETURN(QueuedMessage all, peek_stream(file_.fd, unread));
        queue.push_back(std::move(all));
        return queue;
      }
    } else if (error_pending) {
      return std::vector<QueuedMessage>();
    }
    const bool end_of_file = !datagram() && (self_.shutdown & kShutForReading) != 0;
    return peek_messages(file_.fd, end_of_file ? std::optional<int>(unread) : kNoEndOfFile);
  }

  absl::Status keep_messages(const std::vector<QueuedMessage>& queue, int unread) {
    size_t bytes = 0;
    for (const QueuedMessage& message : queue) {
      if (message.has_fds) {
        refuse_passed_fds();
        return absl::OkStatus();
      }
      bytes += message.data.size();
      if (!keep_message(message)) return absl::OkStatus();
    }
    if (!datagram() && bytes != static_cast<size_t>(unread)) {
      refuse("SP-UNIX-QUEUE", absl::StrCat("only ", bytes, " of the ", unread, " bytes that wait in it can be read"),
             "receive them before the checkpoint");
    }
    return check_for_hidden(queue);
  }

  bool keep_message(const QueuedMessage& message) {
    UnixMessage* out = detail().add_queue();
    out->set_data(message.data);
    out->set_has_credentials(message.has_credentials);
    out->set_uid(message.uid);
    out->set_gid(message.gid);
    const std::string sender = message.sender.unix_name();
    if (!datagram() || sender.empty()) return true;
    const absl::StatusOr<uint64_t> id = open_file_named(sender);
    if (id.ok() && *id != 0) {
      out->set_sender(*id);
      return true;
    }
    refuse("SP-UNIX-QUEUE",
           absl::StrCat("a datagram waits in it that ", message.sender.text(),
                        " sent, which is not part of the image and whose name no other socket can use"),
           "receive it before the checkpoint");
    return false;
  }

  absl::StatusOr<uint64_t> open_file_named(const std::string& name) {
    ASSIGN_OR_RETURN(const std::vector<UnixSocketInfo> sockets, diag_.all_unix_sockets());
    for (const UnixSocketInfo& socket : sockets) {
      if (socket.type != SOCK_DGRAM || socket.name != name) continue;
      // 0 as the exception: a socket may have sent to itself.
      const uint64_t id = context_.open_file_of_inode(socket.inode, 0);
      if (id != 0) return id;
    }
    return 0;
  }

  // A message of no bytes that was peeked at before (by the program, or by an earlier dump) is not shown a second time.
  // The memory that the sender is charged for tells that there is one, though not where in the queue.
  absl::Status check_for_hidden(const std::vector<QueuedMessage>& queue) {
    if (self_.type == SOCK_STREAM || detail().peer_state() != UnixSocketDetail::PAIR) return absl::OkStatus();
    std::vector<std::string> messages;
    messages.reserve(queue.size());
    for (const QueuedMessage& message : queue) messages.push_back(message.data);
    const absl::StatusOr<int> shown = queue_memory(self_.type, messages);
    const absl::StatusOr<int> empty = queue_memory(self_.type, {""});
    if (!shown.ok() || !empty.ok() || *empty <= 0) return absl::OkStatus();
    const int64_t more = int64_t{peer_.send_memory} - *shown;
    if (more <= 0 || more % *empty != 0) return absl::OkStatus();
    refuse("SP-UNIX-QUEUE",
           absl::StrCat(more / *empty,
                        " empty message(s) wait in it that were peeked at before, and whose place in the "
                        "queue the kernel does not show"),
           "receive them before the checkpoint");
    return absl::OkStatus();
  }

  const OpenFileView& file_;
  const OpenFileDumpContext& context_;
  SocketDiag diag_;
  UnixSocketInfo self_;
  UnixSocketInfo peer_;
  uint64_t id_ = 0;
  UnixSocketSurvey out_;
};

}  // namespace

absl::StatusOr<UnixSocketSurvey> survey_unix_socket(const OpenFileView& file, const OpenFileDumpContext& context) {
  ASSIGN_OR_RETURN(SocketDiag diag, SocketDiag::open());
  return Survey(file, context, std::move(diag)).run();
}

}  // namespace stillpoint
