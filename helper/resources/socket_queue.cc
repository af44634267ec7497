#include "helper/resources/socket_queue.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/unique_fd.h"
#include "helper/resources/socket_common.h"

namespace stillpoint {
namespace {

constexpr size_t kFirstBuffer = size_t{256} * 1024;
constexpr size_t kMostMessages = 1 << 20;
constexpr int kScmPidfd = 4;
constexpr int kBigSendBuffer = 64 << 20;
constexpr size_t kMostPassedFds = 253;  // SCM_MAX_FD

// Sets SO_PEEK_OFF and puts the program's own value back.
class PeekOffset {
 public:
  explicit PeekOffset(int fd) : fd_(fd) {}
  ~PeekOffset() {
    if (saved_.has_value()) ::setsockopt(fd_, SOL_SOCKET, SO_PEEK_OFF, &*saved_, sizeof *saved_);
  }
  PeekOffset(const PeekOffset&) = delete;
  PeekOffset& operator=(const PeekOffset&) = delete;

  absl::Status set(int offset) {
    if (!saved_.has_value()) {
      ASSIGN_OR_RETURN(saved_, int_socket_option(fd_, SOL_SOCKET, SO_PEEK_OFF, "SO_PEEK_OFF"));
    }
    return set_int_socket_option(fd_, SOL_SOCKET, SO_PEEK_OFF, offset, "SO_PEEK_OFF");
  }

 private:
  int fd_;
  std::optional<int> saved_;
};

// Reads what came beside the data. Peeking gives the helper copies of passed fds: they are closed.
void read_control(msghdr& header, QueuedMessage& message) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_len < CMSG_LEN(0)) continue;
    const size_t size = part->cmsg_len - CMSG_LEN(0);
    if (part->cmsg_type == SCM_RIGHTS || part->cmsg_type == kScmPidfd) {
      for (size_t i = 0; i + sizeof(int) <= size; i += sizeof(int)) {
        int passed = -1;
        std::memcpy(&passed, CMSG_DATA(part) + i, sizeof passed);
        UniqueFd closer(passed);
      }
      if (part->cmsg_type == SCM_RIGHTS) message.has_fds = true;
    }
    ucred credentials;
    if (part->cmsg_type == SCM_CREDENTIALS && size >= sizeof credentials) {
      std::memcpy(&credentials, CMSG_DATA(part), sizeof credentials);
      message.has_credentials = true;
      message.uid = credentials.uid;
      message.gid = credentials.gid;
    }
  }
}

// One MSG_PEEK. Returns the length of the message, which may be more than `buffer` holds; -1 and errno on failure.
ssize_t peek_one(int fd, std::string& buffer, QueuedMessage& message) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostPassedFds * sizeof(int)) + 1024> control;
  sockaddr_storage sender = {};
  iovec part = {buffer.data(), buffer.size()};
  msghdr header = {};
  header.msg_name = &sender;
  header.msg_namelen = sizeof sender;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(fd, &header, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
  if (size < 0) return size;
  message = QueuedMessage();
  read_control(header, message);
  if (header.msg_namelen > 0) {
    message.sender = SocketAddress(reinterpret_cast<const sockaddr*>(&sender), header.msg_namelen);
  }
  message.data.assign(buffer.data(), std::min(static_cast<size_t>(size), buffer.size()));
  return size;
}

}  // namespace

absl::StatusOr<std::vector<QueuedMessage>> peek_messages(int fd, std::optional<int> end_after_bytes) {
  std::vector<QueuedMessage> messages;
  std::string buffer(kFirstBuffer, '\0');
  PeekOffset offset(fd);
  RETURN_IF_ERROR(offset.set(0));
  int position = 0;
  while (messages.size() < kMostMessages) {
    QueuedMessage message;
    const ssize_t size = peek_one(fd, buffer, message);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return messages;
    if (size < 0) return errno_status(errno, "recvmsg(MSG_PEEK)");
    if (static_cast<size_t>(size) > buffer.size()) {
      buffer.resize(static_cast<size_t>(size));
      RETURN_IF_ERROR(offset.set(position));  // from the start of this message again
      continue;
    }
    if (size == 0 && end_after_bytes.has_value() && position >= *end_after_bytes) return messages;
    if (size > INT32_MAX - position) return absl::ResourceExhaustedError("the socket's queue is too long");
    position += static_cast<int>(size);
    messages.push_back(std::move(message));
  }
  return absl::ResourceExhaustedError("too many messages in the socket's queue");
}

absl::StatusOr<QueuedMessage> peek_stream(int fd, int size) {
  QueuedMessage message;
  if (size <= 0) return message;
  PeekOffset offset(fd);
  ASSIGN_OR_RETURN(const int before, int_socket_option(fd, SOL_SOCKET, SO_PEEK_OFF, "SO_PEEK_OFF"));
  if (before >= 0) RETURN_IF_ERROR(offset.set(-1));
  std::string buffer(static_cast<size_t>(size), '\0');
  ssize_t got;
  do {
    got = peek_one(fd, buffer, message);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno_status(errno, "recvmsg(MSG_PEEK)");
  return message;
}

absl::StatusOr<int> queue_memory(int type, const std::vector<std::string>& messages) {
  int pair[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) != 0) return errno_status(errno, "socketpair");
  const UniqueFd writer_fd(pair[0]);
  const UniqueFd reader(pair[1]);
  ASSIGN_OR_RETURN(const QueueWriter writer, QueueWriter::on(writer_fd.get()));
  for (const std::string& message : messages) RETURN_IF_ERROR(writer.send(message, false, SocketAddress()));
  return socket_ioctl(writer_fd.get(), SIOCOUTQ, "SIOCOUTQ");
}

absl::StatusOr<QueueWriter> QueueWriter::on(int fd) {
  ASSIGN_OR_RETURN(const int send_buffer, int_socket_option(fd, SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF"));
  ASSIGN_OR_RETURN(const int pass, int_socket_option(fd, SOL_SOCKET, SO_PASSCRED, "SO_PASSCRED"));
  QueueWriter writer(fd);
  writer.send_buffer_ = send_buffer;
  writer.pass_credentials_ = pass;
  // Without CAP_NET_ADMIN the kernel gives what it may (net.core.wmem_max).
  if (::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &kBigSendBuffer, sizeof kBigSendBuffer) != 0) {
    RETURN_IF_ERROR(set_int_socket_option(fd, SOL_SOCKET, SO_SNDBUF, kBigSendBuffer, "SO_SNDBUF"));
  }
  if (pass != 0) RETURN_IF_ERROR(set_int_socket_option(fd, SOL_SOCKET, SO_PASSCRED, 0, "SO_PASSCRED"));
  return writer;
}

QueueWriter::QueueWriter(QueueWriter&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), send_buffer_(other.send_buffer_), pass_credentials_(other.pass_credentials_) {}

QueueWriter::~QueueWriter() {
  if (fd_ < 0) return;
  const int half = send_buffer_ / 2;
  if (::setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &half, sizeof half) != 0) {
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDBUF, &half, sizeof half);
  }
  if (pass_credentials_ != 0) {
    ::setsockopt(fd_, SOL_SOCKET, SO_PASSCRED, &pass_credentials_, sizeof pass_credentials_);
  }
}

absl::Status QueueWriter::send_message(absl::string_view data, const SocketAddress& address, const void* control,
                                       size_t control_size, size_t& sent) const {
  iovec part = {const_cast<char*>(data.data()), data.size()};
  msghdr header = {};
  if (!address.empty()) {
    header.msg_name = const_cast<sockaddr*>(address.get());
    header.msg_namelen = address.length();
  }
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = const_cast<void*>(control);
  header.msg_controllen = control_size;
  ssize_t size;
  do {
    size = ::sendmsg(fd_, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return errno_status(errno, "sendmsg into the queue of the restored socket");
  sent = static_cast<size_t>(size);
  return absl::OkStatus();
}

absl::Status QueueWriter::send(absl::string_view data, bool stream, const SocketAddress& address) const {
  do {
    size_t sent = 0;
    RETURN_IF_ERROR(send_message(data, address, nullptr, 0, sent));
    if (!stream && sent != data.size()) return absl::DataLossError("a message was cut short");
    data.remove_prefix(std::min(sent, data.size()));
  } while (!data.empty());
  return absl::OkStatus();
}

absl::Status QueueWriter::send_as(absl::string_view data, const SocketAddress& address, uid_t uid, gid_t gid) const {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control = {};
  auto* part = reinterpret_cast<cmsghdr*>(control.data());
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_CREDENTIALS;
  part->cmsg_len = CMSG_LEN(sizeof(ucred));
  const ucred credentials = {::getpid(), uid, gid};
  std::memcpy(CMSG_DATA(part), &credentials, sizeof credentials);
  while (true) {
    size_t sent = 0;
    RETURN_IF_ERROR(send_message(data, address, control.data(), control.size(), sent));
    data.remove_prefix(std::min(sent, data.size()));
    if (data.empty()) return absl::OkStatus();
  }
}

}  // namespace stillpoint
