// UNIX sockets: stream, datagram and seqpacket.
//
// The two ends of a pair come into being together: the one that is restored first makes both, puts bytes into its own
// queue through the other, and leaves that for the other's turn. Names of third parties and whatever would disturb the
// refilling of queues (SO_PASSCRED, filters, shutdown) wait for finish().
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/inherited.h"
#include "helper/resources/socket.pb.h"
#include "helper/resources/socket_address.h"
#include "helper/resources/socket_common.h"
#include "helper/resources/socket_diag.h"
#include "helper/resources/socket_kinds.h"
#include "helper/resources/socket_options.h"
#include "helper/resources/socket_queue.h"
#include "helper/resources/unix_socket_name.h"
#include "helper/resources/unix_socket_survey.h"

namespace stillpoint {
namespace {

using resources::UnixMessage;
using resources::UnixSocketDetail;

absl::StatusOr<SocketEnds> make_socketpair(int type) {
  int pair[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) != 0) return errno_status(errno, "socketpair");
  return SocketEnds{UniqueFd(pair[0]), UniqueFd(pair[1])};
}

absl::StatusOr<bool> are_peers(int a, int b) {
  struct stat first = {};
  struct stat second = {};
  if (::fstat(a, &first) != 0 || ::fstat(b, &second) != 0) return errno_status(errno, "fstat of a socket");
  ASSIGN_OR_RETURN(SocketDiag diag, SocketDiag::open());
  ASSIGN_OR_RETURN(const UnixSocketInfo info, diag.unix_socket(first.st_ino));
  return info.has_peer && info.peer_inode == second.st_ino;
}

// Connects to the restored listener and accepts that connection: the only way to an accepted socket's name. A client
// from outside that was faster is turned away, as it would be by a server that starts again.
absl::StatusOr<SocketEnds> connect_through_listener(const UnixSocketDetail& detail, int listener,
                                                    const OpenFileRestoreContext& context) {
  ASSIGN_OR_RETURN(UniqueFd client, new_socket(AF_UNIX, detail.type() | SOCK_NONBLOCK, 0));
  RETURN_IF_ERROR(connect_unix_name(client.get(), detail.target(), context));
  if (::fcntl(client.get(), F_SETFL, 0) != 0) return errno_status(errno, "fcntl(F_SETFL) on a socket");
  while (true) {
    ASSIGN_OR_RETURN(const short events, poll_now(listener, POLLIN));
    if ((events & POLLIN) == 0) return absl::AbortedError("the listener did not get the connection");
    UniqueFd server(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!server.valid()) return errno_status(errno, "accept4");
    ASSIGN_OR_RETURN(const bool found, are_peers(server.get(), client.get()));
    if (!found) continue;
    if (detail.accepted()) return SocketEnds{std::move(server), std::move(client)};
    return SocketEnds{std::move(client), std::move(server)};
  }
}

absl::StatusOr<SocketEnds> make_pair(const model::OpenFile& file, const UnixSocketDetail& detail,
                                     OpenFileRestoreContext& context) {
  const int listener = detail.listener() != 0 ? context.fd_of(detail.listener()) : -1;
  if (listener >= 0) {
    absl::StatusOr<SocketEnds> ends = connect_through_listener(detail, listener, context);
    if (ends.ok()) return ends;
    context.note(absl::StrCat(file.description(), ": the connection could not be made through its listener (",
                              std::string(ends.status().message()), "); the names of its ends are lost"));
  } else if (detail.listener() != 0) {
    context.note(absl::StrCat(file.description(), ": the names of this connection's ends are lost"));
  }
  return make_socketpair(detail.type());
}

// The end of a pair that is this file's, made now or left by the partner.
absl::StatusOr<UniqueFd> take_end(const model::OpenFile& file, const UnixSocketDetail& detail,
                                  OpenFileRestoreContext& context) {
  bool left = false;
  const auto make = [&] { return make_pair(file, detail, context); };
  ASSIGN_OR_RETURN(UniqueFd own, take_socket_end(file, detail.peer(), context, make, left));
  if (!left) {
    context.note(absl::StrCat(file.description(), ": SO_PEERCRED names the restorer, which made this pair anew"));
    return own;
  }
  const absl::StatusOr<int> domain = int_socket_option(own.get(), SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN");
  const absl::StatusOr<int> type = int_socket_option(own.get(), SOL_SOCKET, SO_TYPE, "SO_TYPE");
  if (!domain.ok() || *domain != AF_UNIX || !type.ok() || *type != detail.type()) {
    return damaged_detail(file, "its peer is of another type");
  }
  return own;
}

// As the listener's queue was: the client is connected, and nobody has accepted it.
absl::Status connect_waiting(const UnixSocketDetail& listener, uint64_t client, const OpenFileRestoreContext& context) {
  const int fd = context.fd_of(client);
  if (fd < 0) return absl::DataLossError("a client that waits is not there");
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
    return errno_status(errno, "fcntl(F_SETFL) on a socket");
  RETURN_IF_ERROR(connect_unix_name(fd, listener.name(), context));
  if (::fcntl(fd, F_SETFL, flags) != 0) return errno_status(errno, "fcntl(F_SETFL) on a socket");
  return absl::OkStatus();
}

bool has_named_sender(const UnixSocketDetail& detail) {
  return std::any_of(detail.queue().begin(), detail.queue().end(),
                     [](const UnixMessage& message) { return message.sender() != 0; });
}

// `address`: empty when the writer is connected to the socket.
absl::Status put_message(const QueueWriter& writer, const UnixMessage& message, bool stream,
                         const SocketAddress& address) {
  if (message.has_credentials()) {
    absl::Status sent = writer.send_as(message.data(), address, message.uid(), message.gid());
    if (!absl::IsPermissionDenied(sent)) return sent;
  }
  return writer.send(message.data(), stream, address);
}

absl::Status fill_queue(const UnixSocketDetail& detail, int writer_fd, const SocketAddress& address,
                        absl::string_view object, OpenFileRestoreContext& context) {
  ASSIGN_OR_RETURN(const QueueWriter writer, QueueWriter::on(writer_fd));
  bool credentials = false;
  for (const UnixMessage& message : detail.queue()) {
    RETURN_IF_ERROR(put_message(writer, message, detail.type() == SOCK_STREAM, address));
    credentials |= message.has_credentials();
  }
  if (credentials) context.note(absl::StrCat(object, ": SCM_CREDENTIALS of what waits in it name the restorer's pid"));
  return absl::OkStatus();
}

// Datagrams of several senders, each sent from its own socket again, nameless ones from a socket of no name.
absl::Status fill_queue_by_sender(const UnixSocketDetail& detail, int fd, OpenFileRestoreContext& context) {
  ASSIGN_OR_RETURN(const SocketAddress own_name, SocketAddress::local(fd));
  const uint64_t peer = detail.peer_state() == UnixSocketDetail::PAIR ? detail.peer() : 0;
  for (const UnixMessage& message : detail.queue()) {
    // Once connected, a socket takes datagrams from its peer alone.
    const uint64_t sender = peer != 0 && message.sender() == 0 ? peer : message.sender();
    const bool connected = peer != 0 && sender == peer;
    if (!connected && own_name.unix_name().empty()) return absl::DataLossError("datagrams for a socket without a name");
    UniqueFd nameless;
    int writer_fd = sender != 0 ? context.fd_of(sender) : -1;
    if (sender == 0) {
      ASSIGN_OR_RETURN(nameless, new_socket(AF_UNIX, SOCK_DGRAM, 0));
      writer_fd = nameless.get();
    }
    if (writer_fd < 0) return absl::DataLossError("the sender of a datagram in its queue is missing");
    ASSIGN_OR_RETURN(const QueueWriter writer, QueueWriter::on(writer_fd));
    RETURN_IF_ERROR(put_message(writer, message, false, connected ? SocketAddress() : own_name));
  }
  return absl::OkStatus();
}

absl::Status check_detail(const model::OpenFile& file, const UnixSocketDetail& detail) {
  if (detail.type() != SOCK_STREAM && detail.type() != SOCK_DGRAM && detail.type() != SOCK_SEQPACKET) {
    return damaged_detail(file, "not a type of socket");
  }
  for (const resources::UnixName* name : {&detail.name(), &detail.target()}) {
    if (const absl::Status status = check_unix_name(*name); !status.ok()) return damaged_detail(file, status.message());
  }
  const bool connected = detail.peer_state() != UnixSocketDetail::NONE;
  if (!detail.waiting().empty() && !detail.listening()) return damaged_detail(file, "clients of no listener");
  if (detail.peer_state() == UnixSocketDetail::WAITING && !detail.queue().empty()) {
    return damaged_detail(file, "a queue without a connection");
  }
  if (detail.listening() && (connected || detail.type() == SOCK_DGRAM || detail.backlog() < 0)) {
    return damaged_detail(file, "it cannot be listening");
  }
  if (!connected && detail.type() != SOCK_DGRAM && !detail.queue().empty()) {
    return damaged_detail(file, "a queue without a connection");
  }
  return check_fd_number(file, detail.number());
}

class UnixSocketKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "unix"; }

  bool claims(const OpenFileView& file) const override {
    const std::optional<SocketIdentity> identity = identify_socket(file);
    return identity.has_value() && identity->domain == AF_UNIX;
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext& context, Findings& findings) const override {
    const absl::StatusOr<UnixSocketSurvey> survey = survey_unix_socket(file, context);
    if (!survey.ok()) {
      findings.add(unreadable_socket(file, survey.status()));
      return;
    }
    for (const Finding& finding : survey->findings.all()) findings.add(finding);
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext& context, model::OpenFile& out) const override {
    ASSIGN_OR_RETURN(const UnixSocketSurvey survey, survey_unix_socket(file, context));
    if (survey.inherited) return dump_inherited(file, out);
    if (!survey.findings.empty()) return absl::FailedPreconditionError(survey.findings.all().front().reason);
    RETURN_IF_ERROR(store_detail(survey.detail, file, out));
    out.set_description(absl::StrCat(out.description(), " ", survey.words));
    return absl::OkStatus();
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const UnixSocketDetail detail, parse_detail<UnixSocketDetail>(file));
    RETURN_IF_ERROR(check_detail(file, detail));
    absl::StatusOr<UniqueFd> fd = restore_socket(file, detail, context);
    if (!fd.ok()) return with_context(fd.status(), describe(file));
    return fd;
  }

  absl::Status fill(const model::OpenFile& file, int, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const UnixSocketDetail detail, parse_detail<UnixSocketDetail>(file));
    for (const uint64_t client : detail.waiting()) {
      RETURN_IF_ERROR(with_context(connect_waiting(detail, client, context), describe(file)));
    }
    return absl::OkStatus();
  }

  absl::Status finish(const model::OpenFile& file, int fd, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const UnixSocketDetail detail, parse_detail<UnixSocketDetail>(file));
    return with_context(finish_socket(file, detail, fd, context), describe(file));
  }

 private:
  static absl::StatusOr<UniqueFd> restore_socket(const model::OpenFile& file, const UnixSocketDetail& detail,
                                                 OpenFileRestoreContext& context) {
    SocketEnds ends;
    if (detail.peer_state() == UnixSocketDetail::PAIR) {
      ASSIGN_OR_RETURN(ends.own, take_end(file, detail, context));
    } else if (detail.peer_state() == UnixSocketDetail::GONE) {
      ASSIGN_OR_RETURN(ends, make_socketpair(detail.type()));
    } else {
      ASSIGN_OR_RETURN(ends.own, new_socket(AF_UNIX, detail.type(), 0));
    }
    const int fd = ends.own.get();
    RETURN_IF_ERROR(
        apply_socket_settings(fd, detail.settings(), SettingsPhase::kBeforeBind, file.description(), context));
    RETURN_IF_ERROR(bind_name(file, detail, fd, context));
    if (detail.listening()) RETURN_IF_ERROR(start_listening(file, detail, fd, context));
    RETURN_IF_ERROR(fill_from_other_end(file, detail, ends, context));
    // Closing the other end with something unread in it makes the ECONNRESET that was pending.
    if (detail.peer_state() == UnixSocketDetail::GONE && detail.reset_pending() &&
        ::send(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) {
      return errno_status(errno, "send to the other end of the pair");
    }
    return std::move(ends.own);
  }

  // A connection works without its name; whoever sends datagrams or connects needs the name.
  static absl::Status bind_name(const model::OpenFile& file, const UnixSocketDetail& detail, int fd,
                                OpenFileRestoreContext& context) {
    if (detail.name().name().empty()) return absl::OkStatus();
    absl::Status bound = bind_unix_name(fd, detail.name(), file.description(), context);
    const bool connection = detail.type() != SOCK_DGRAM && detail.peer_state() != UnixSocketDetail::NONE;
    if (bound.ok() || !connection) return bound;
    context.note(absl::StrCat(file.description(), ": lost its name: ", std::string(bound.message())));
    return absl::OkStatus();
  }

  static absl::Status start_listening(const model::OpenFile& file, const UnixSocketDetail& detail, int fd,
                                      OpenFileRestoreContext& context) {
    if (::listen(fd, detail.backlog()) != 0) return errno_status(errno, "listen");
    // Clients see the credentials (SO_PEERCRED) of whoever called listen last: the process's own.
    const auto number = static_cast<uint64_t>(detail.number());
    context.in_process({SYS_listen,
                        {number, static_cast<uint64_t>(detail.backlog()), 0, 0, 0, 0},
                        -1,
                        "",
                        absl::StrCat("listen on ", file.description())});
    return absl::OkStatus();
  }

  static absl::Status fill_from_other_end(const model::OpenFile& file, const UnixSocketDetail& detail,
                                          const SocketEnds& ends, OpenFileRestoreContext& context) {
    if (detail.queue().empty() || has_named_sender(detail)) return absl::OkStatus();
    int writer = ends.other.get();
    if (detail.peer_state() == UnixSocketDetail::PAIR) {
      const auto spare = context.spare_ends().find(detail.peer());
      writer = spare != context.spare_ends().end() ? spare->second.get() : context.fd_of(detail.peer());
    }
    if (detail.peer_state() == UnixSocketDetail::NONE || detail.peer_state() == UnixSocketDetail::TARGET) {
      return absl::OkStatus();  // by finish()
    }
    if (writer < 0) return absl::DataLossError("the other end of its pair is missing");
    return fill_queue(detail, writer, SocketAddress(), file.description(), context);
  }

  static absl::Status finish_socket(const model::OpenFile& file, const UnixSocketDetail& detail, int fd,
                                    OpenFileRestoreContext& context) {
    const bool one_way =
        detail.peer_state() == UnixSocketDetail::NONE || detail.peer_state() == UnixSocketDetail::TARGET;
    if (!detail.queue().empty() && (one_way || has_named_sender(detail))) {
      RETURN_IF_ERROR(fill_queue_by_sender(detail, fd, context));
    }
    if (detail.peer_state() == UnixSocketDetail::TARGET) {
      RETURN_IF_ERROR(connect_unix_name(fd, detail.target(), context));
    }
    if (detail.read_shut_down() && ::shutdown(fd, SHUT_RD) != 0) return errno_status(errno, "shutdown(SHUT_RD)");
    if (detail.write_shut_down() && ::shutdown(fd, SHUT_WR) != 0) return errno_status(errno, "shutdown(SHUT_WR)");
    return apply_socket_settings(fd, detail.settings(), SettingsPhase::kLast, file.description(), context);
  }
};

}  // namespace

const OpenFileKind& unix_socket_kind() {
  static const auto& kind = *new UnixSocketKind;
  return kind;
}

}  // namespace stillpoint
