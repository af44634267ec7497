#include "helper/resources/tcp_socket_queue.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"
#include "helper/base/unique_fd.h"
#include "helper/resources/socket_common.h"
#include "helper/resources/tcp_socket_diag.h"

namespace stillpoint {
namespace {

constexpr int kRepairOff = -1;  // TCP_REPAIR_OFF_NO_WP: without a window probe, Linux 4.19
constexpr int kBigSendBuffer = 64 << 20;
constexpr int kSoBufLock = 72;  // SO_BUF_LOCK, Linux 5.14

// Its FIN is sent or waits to be, and has not been acknowledged.
bool fin_on_its_way(uint8_t state) { return state == kTcpFinWait1 || state == kTcpClosing || state == kTcpLastAck; }

// Acknowledges now what would be acknowledged later. The value that the option had, which is the kernel's guess at
// the conversation's rhythm, is put back.
void acknowledge(int receiver) {
  const absl::StatusOr<int> before = int_socket_option(receiver, IPPROTO_TCP, TCP_QUICKACK, "TCP_QUICKACK");
  set_int_socket_option(receiver, IPPROTO_TCP, TCP_QUICKACK, 1, "TCP_QUICKACK").IgnoreError();
  if (before.ok() && *before == 0) {
    set_int_socket_option(receiver, IPPROTO_TCP, TCP_QUICKACK, 0, "TCP_QUICKACK").IgnoreError();
  }
}

absl::StatusOr<bool> delivered(int sender) {
  ASSIGN_OR_RETURN(const uint8_t state, tcp_state(sender));
  if (state == kTcpClose) return true;
  ASSIGN_OR_RETURN(const int waiting, socket_ioctl(sender, SIOCOUTQ, "SIOCOUTQ"));
  return waiting == 0 && !fin_on_its_way(state);
}

absl::StatusOr<std::string> peek(int fd, size_t limit) {
  std::string data(limit, '\0');
  ssize_t size;
  do {
    size = ::recv(fd, data.data(), data.size(), MSG_PEEK | MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno != EAGAIN) return errno_status(errno, "recv(MSG_PEEK)");
  data.resize(size < 0 ? 0 : static_cast<size_t>(size));
  return data;
}

// A socket that the kernel lets be looked into. It takes SO_REUSEADDR away on the way out.
class RepairMode {
 public:
  static absl::StatusOr<RepairMode> enter(int fd) {
    ASSIGN_OR_RETURN(const int reuse, int_socket_option(fd, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"));
    RETURN_IF_ERROR(set_int_socket_option(fd, IPPROTO_TCP, TCP_REPAIR, 1, "TCP_REPAIR"));
    return RepairMode(fd, reuse);
  }
  RepairMode(RepairMode&& other) noexcept : fd_(std::exchange(other.fd_, -1)), reuse_(other.reuse_) {}
  RepairMode& operator=(RepairMode&&) = delete;
  ~RepairMode() { leave().IgnoreError(); }

  // Nothing but system calls: also for the child of a dead helper.
  static bool end(int fd, int reuse) {
    const bool ended = ::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &kRepairOff, sizeof kRepairOff) == 0;
    return (reuse == 0 || ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse) == 0) && ended;
  }
  absl::Status leave() {
    const int fd = std::exchange(fd_, -1);
    if (fd < 0 || end(fd, reuse_)) return absl::OkStatus();
    return errno_status(errno, "setsockopt(TCP_REPAIR) to end the repair of a connection");
  }

  int fd() const { return fd_; }
  // Also makes `queue` the one that recv(2) reads.
  absl::StatusOr<uint32_t> sequence(int queue) const {
    RETURN_IF_ERROR(set_int_socket_option(fd_, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue, "TCP_REPAIR_QUEUE"));
    ASSIGN_OR_RETURN(const int sequence, int_socket_option(fd_, IPPROTO_TCP, TCP_QUEUE_SEQ, "TCP_QUEUE_SEQ"));
    return static_cast<uint32_t>(sequence);
  }

 private:
  RepairMode(int fd, int reuse) : fd_(fd), reuse_(reuse) {}

  int fd_ = -1;
  int reuse_ = 0;
};

// A child that ends the repair of `fds` when the helper is no longer there to do it.
class RepairGuard {
 public:
  static absl::StatusOr<RepairGuard> over(const std::array<int, 2>& fds) {
    std::array<int, 2> reuse = {};
    for (size_t i = 0; i < fds.size(); ++i) {
      ASSIGN_OR_RETURN(reuse[i], int_socket_option(fds[i], SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"));
    }
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return errno_status(errno, "pipe2");
    UniqueFd reader(ends[0]), writer(ends[1]);
    const pid_t pid = ::fork();
    if (pid < 0) return errno_status(errno, "fork");
    if (pid == 0) {
      ::close(writer.get());
      char over = 0;
      ssize_t size;
      do {
        size = ::read(reader.get(), &over, 1);
      } while (size < 0 && errno == EINTR);
      for (size_t i = 0; size == 0 && i < fds.size(); ++i) RepairMode::end(fds[i], reuse[i]);
      ::_exit(0);
    }
    return RepairGuard(pid, std::move(writer));
  }
  RepairGuard(RepairGuard&& other) noexcept : pid_(std::exchange(other.pid_, 0)), writer_(std::move(other.writer_)) {}
  RepairGuard& operator=(RepairGuard&&) = delete;
  ~RepairGuard() {
    if (pid_ == 0) return;
    // Where that fails the child sees the pipe's end, and ends a repair that has ended.
    const ssize_t written = ::write(writer_.get(), "o", 1);
    static_cast<void>(written);
    writer_.reset();
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

 private:
  RepairGuard(pid_t pid, UniqueFd writer) : pid_(pid), writer_(std::move(writer)) {}

  pid_t pid_ = 0;
  UniqueFd writer_;
};

// The last `count` bytes of what the sender has not had acknowledged; its FIN counts as one that is no byte.
absl::StatusOr<std::string> undelivered(const RepairMode& sender, uint8_t state, int outgoing, uint32_t received) {
  ASSIGN_OR_RETURN(const uint32_t sent, sender.sequence(TCP_SEND_QUEUE));
  ASSIGN_OR_RETURN(std::string queue, peek(sender.fd(), static_cast<size_t>(outgoing) + 1));
  uint32_t count = sent - received;
  if (count > 0 && fin_on_its_way(state)) --count;
  if (count > queue.size()) {
    return absl::DataLossError(absl::StrCat("a connection's send queue shows ", queue.size(), " of the ", count,
                                            " bytes that are on their way"));
  }
  return queue.substr(queue.size() - count);
}

// Connections of the application's may be corked, or wait for the answer to a small segment.
class PromptSending {
 public:
  explicit PromptSending(int fd) : fd_(fd) {
    const absl::StatusOr<int> no_delay = int_socket_option(fd, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY");
    const absl::StatusOr<int> cork = int_socket_option(fd, IPPROTO_TCP, TCP_CORK, "TCP_CORK");
    no_delay_ = no_delay.value_or(0);
    cork_ = cork.value_or(0);
    set(0, 1);
  }
  PromptSending(const PromptSending&) = delete;
  PromptSending& operator=(const PromptSending&) = delete;
  ~PromptSending() { set(cork_, no_delay_); }

 private:
  void set(int cork, int no_delay) const {
    set_int_socket_option(fd_, IPPROTO_TCP, TCP_CORK, cork, "TCP_CORK").IgnoreError();
    set_int_socket_option(fd_, IPPROTO_TCP, TCP_NODELAY, no_delay, "TCP_NODELAY").IgnoreError();
  }
  int fd_;
  int no_delay_ = 0;
  int cork_ = 0;
};

}  // namespace

absl::StatusOr<uint8_t> tcp_state(int fd) {
  tcp_info info = {};
  socklen_t length = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return errno_status(errno, "getsockopt(TCP_INFO)");
  return info.tcpi_state;
}

absl::StatusOr<bool> deliver_tcp(int sender, int receiver, absl::Time deadline) {
  while (true) {
    ASSIGN_OR_RETURN(const bool done, delivered(sender));
    if (done) return true;
    acknowledge(receiver);
    ASSIGN_OR_RETURN(const bool done_now, delivered(sender));
    if (done_now) return true;
    if (absl::Now() >= deadline) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
}

absl::StatusOr<std::string> read_delivered_tcp(int receiver) {
  ASSIGN_OR_RETURN(const int unread, socket_ioctl(receiver, SIOCINQ, "SIOCINQ"));
  if (unread <= 0) return std::string();
  // Kernels before 6.9 have no such offset for TCP.
  const absl::StatusOr<int> offset = int_socket_option(receiver, SOL_SOCKET, SO_PEEK_OFF, "SO_PEEK_OFF");
  const bool has_offset = offset.ok() && *offset >= 0;
  if (has_offset) RETURN_IF_ERROR(set_int_socket_option(receiver, SOL_SOCKET, SO_PEEK_OFF, -1, "SO_PEEK_OFF"));
  absl::StatusOr<std::string> data = peek(receiver, static_cast<size_t>(unread));
  if (has_offset) RETURN_IF_ERROR(set_int_socket_option(receiver, SOL_SOCKET, SO_PEEK_OFF, *offset, "SO_PEEK_OFF"));
  if (!data.ok() || data->size() == static_cast<size_t>(unread)) return data;
  return absl::DataLossError(absl::StrCat("only ", data->size(), " of the ", unread, " bytes that wait can be read"));
}

bool can_repair_tcp() {
  if (feature_disabled("tcp_repair")) return false;
  const absl::StatusOr<UniqueFd> probe = new_socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
  return probe.ok() && set_int_socket_option(probe->get(), IPPROTO_TCP, TCP_REPAIR, 1, "TCP_REPAIR").ok();
}

absl::StatusOr<std::string> read_undelivered_tcp(int sender, int receiver) {
  ASSIGN_OR_RETURN(const RepairGuard guard, RepairGuard::over({sender, receiver}));
  ASSIGN_OR_RETURN(RepairMode sending, RepairMode::enter(sender));
  ASSIGN_OR_RETURN(RepairMode receiving, RepairMode::enter(receiver));
  die_if_stage("tcp-repair");
  // The kernel may deliver more meanwhile: once more, until both halves fit together.
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    ASSIGN_OR_RETURN(const uint8_t state, tcp_state(sender));
    ASSIGN_OR_RETURN(const int outgoing, socket_ioctl(sender, SIOCOUTQ, "SIOCOUTQ"));
    ASSIGN_OR_RETURN(const uint32_t received, receiving.sequence(TCP_RECV_QUEUE));
    absl::StatusOr<std::string> on_its_way = undelivered(sending, state, outgoing, received);
    ASSIGN_OR_RETURN(std::string all, read_delivered_tcp(receiver));
    ASSIGN_OR_RETURN(const uint32_t received_then, receiving.sequence(TCP_RECV_QUEUE));
    if (received_then != received) continue;
    RETURN_IF_ERROR(on_its_way.status());
    RETURN_IF_ERROR(receiving.leave());
    RETURN_IF_ERROR(sending.leave());
    return all.append(*on_its_way);
  }
  return absl::AbortedError("a connection whose ends are frozen goes on");
}

absl::Status send_all_tcp(int fd, absl::string_view data) {
  if (data.empty()) return absl::OkStatus();
  const PromptSending prompt(fd);
  ASSIGN_OR_RETURN(const int buffer, int_socket_option(fd, SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF"));
  const absl::StatusOr<int> lock = int_socket_option(fd, SOL_SOCKET, kSoBufLock, "SO_BUF_LOCK");
  bool enlarged = false;
  while (!data.empty()) {
    const ssize_t size = ::send(fd, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size > 0) {
      data.remove_prefix(static_cast<size_t>(size));
      continue;
    }
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno != EAGAIN) return errno_status(errno, "send into the queue of the restored connection");
    if (enlarged || ::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &kBigSendBuffer, sizeof kBigSendBuffer) != 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the last ", data.size(),
                       " bytes that waited in the connection find no room here: restart with CAP_NET_ADMIN, or raise "
                       "the second number of net.ipv4.tcp_wmem"));
    }
    enlarged = true;
  }
  if (!enlarged) return absl::OkStatus();
  RETURN_IF_ERROR(set_int_socket_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, buffer / 2, "SO_SNDBUFFORCE"));
  // As it was: the kernel sizes the buffer itself, unless the program has.
  if (lock.ok()) RETURN_IF_ERROR(set_int_socket_option(fd, SOL_SOCKET, kSoBufLock, *lock, "SO_BUF_LOCK"));
  return absl::OkStatus();
}

}  // namespace stillpoint
