#include "helper/protocol/channel.h"

#include <poll.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/socket_fds.h"

namespace stillpoint {
namespace {

absl::Status pass_credentials(int fd) {
  const int on = 1;
  if (::setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0) {
    return errno_status(errno, absl::StrCat("setsockopt(SO_PASSCRED) on fd ", fd));
  }
  return absl::OkStatus();
}

// Waits until `fd` is readable (or at EOF), EINTR aside.
absl::Status wait_readable(int fd, absl::Time deadline) {
  for (;;) {
    timespec timeout{};
    if (deadline != absl::InfiniteFuture()) {
      const absl::Duration left = deadline - absl::Now();
      timeout = absl::ToTimespec(left < absl::ZeroDuration() ? absl::ZeroDuration() : left);
    }
    pollfd poll_fd{fd, POLLIN, 0};
    const int ready = ::ppoll(&poll_fd, 1, deadline == absl::InfiniteFuture() ? nullptr : &timeout, nullptr);
    if (ready > 0) return absl::OkStatus();
    if (ready == 0) return absl::DeadlineExceededError("the peer did not speak in time");
    if (errno != EINTR) return errno_status(errno, absl::StrCat("ppoll on fd ", fd));
  }
}

// Takes over what came beside the message. Every fd is owned from here on, also when the message is refused.
void take_control_messages(msghdr& message, ReceivedPacket& out) {
  out.fds = take_fds(message);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS) continue;
    if (header->cmsg_len == CMSG_LEN(sizeof(ucred))) std::memcpy(&out.sender, CMSG_DATA(header), sizeof(ucred));
  }
}

absl::Status send_bytes(int socket, const std::string& bytes, const std::vector<int>& fds, int flags) {
  if (bytes.size() > kMaxPacketBytes || fds.size() > kMaxPacketFds) {
    return absl::InvalidArgumentError(absl::StrCat("a message of ", bytes.size(), " bytes and ", fds.size(),
                                                   " fds is more than the protocol allows"));
  }
  const ssize_t sent = send_with_fds(socket, bytes, fds, flags);
  if (sent >= 0) return absl::OkStatus();
  if (errno == EPIPE || errno == ECONNRESET) return absl::UnavailableError("the peer closed the connection");
  if (errno == EAGAIN) return absl::ResourceExhaustedError("the peer does not read");
  return errno_status(errno, absl::StrCat("sendmsg on fd ", socket));
}

}  // namespace

absl::StatusOr<Channel> Channel::over(UniqueFd socket) {
  int type = 0, domain = 0;
  socklen_t length = sizeof type;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &length) < 0 ||
      ::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0) {
    return errno_status(errno, absl::StrCat("getsockopt(SO_TYPE) on fd ", socket.get()));
  }
  if (type != SOCK_SEQPACKET || domain != AF_UNIX) {
    return absl::InvalidArgumentError(absl::StrCat("fd ", socket.get(), " is not a UNIX SEQPACKET socket"));
  }
  RETURN_IF_ERROR(pass_credentials(socket.get()));
  return Channel(std::move(socket));
}

absl::StatusOr<std::pair<Channel, UniqueFd>> Channel::pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    return errno_status(errno, "socketpair(AF_UNIX, SOCK_SEQPACKET)");
  }
  UniqueFd first(ends[0]), second(ends[1]);
  // The kernel notes a sender's credentials when it sends: the receiver must have asked for them by then.
  RETURN_IF_ERROR(pass_credentials(second.get()));
  ASSIGN_OR_RETURN(Channel channel, over(std::move(first)));
  return std::make_pair(std::move(channel), std::move(second));
}

absl::Status Channel::send(const protocol::Packet& packet, const std::vector<int>& fds) const {
  return send_bytes(fd_.get(), packet.SerializeAsString(), fds, 0);
}

absl::Status Channel::send_if_room(const protocol::Packet& packet) const {
  return send_bytes(fd_.get(), packet.SerializeAsString(), {}, MSG_DONTWAIT);
}

absl::StatusOr<ReceivedPacket> Channel::receive(absl::Time deadline) const {
  RETURN_IF_ERROR(wait_readable(fd_.get(), deadline));
  // One byte more than allowed tells an oversized message from one that just fits.
  const auto buffer = std::make_unique<char[]>(kMaxPacketBytes + 1);
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPacketFds * sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
  iovec data{buffer.get(), kMaxPacketBytes + 1};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = 0;
  do {
    size = ::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == ECONNRESET) return absl::UnavailableError("the peer is gone");
  if (size < 0) return errno_status(errno, absl::StrCat("recvmsg on fd ", fd_.get()));

  ReceivedPacket received;
  take_control_messages(message, received);
  if (size == 0) return absl::UnavailableError("the peer is gone");
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || static_cast<size_t>(size) > kMaxPacketBytes) {
    return absl::InvalidArgumentError("a message larger than the protocol allows");
  }
  if (!received.packet.ParseFromArray(buffer.get(), static_cast<int>(size))) {
    return absl::InvalidArgumentError(absl::StrCat("a malformed message of ", size, " bytes"));
  }
  return received;
}

}  // namespace stillpoint
