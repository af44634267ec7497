// What waits in a socket's receive queue: read without taking it out, and put in again.
#ifndef STILLPOINT_HELPER_RESOURCES_SOCKET_QUEUE_H_
#define STILLPOINT_HELPER_RESOURCES_SOCKET_QUEUE_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/resources/socket_address.h"

namespace stillpoint {

// One datagram, one record, or a run of stream bytes that came from one writer.
struct QueuedMessage {
  std::string data;
  SocketAddress sender;
  bool has_credentials = false;  // only when SO_PASSCRED is set
  uid_t uid = 0;
  gid_t gid = 0;
  bool has_fds = false;  // SCM_RIGHTS
};

// A message of no bytes and the end of the file read the same on a SOCK_SEQPACKET or a stream whose writer has shut
// down: there, reading stops at the first of them after `bytes` bytes (SIOCINQ).
inline constexpr std::optional<int> kNoEndOfFile = std::nullopt;

// All messages in order. SO_PEEK_OFF, which lets MSG_PEEK go past the first, is a property of the socket itself: it is
// put back before this returns. Must not be called on a socket with a pending error (POLLERR): reading would take that.
absl::StatusOr<std::vector<QueuedMessage>> peek_messages(int fd, std::optional<int> end_after_bytes);

// The `size` bytes that wait in a stream socket, in one peek that leaves no trace and touches no pending error.
absl::StatusOr<QueuedMessage> peek_stream(int fd, int size);

// The kernel memory that `messages` take in the queue of a socket of `type`, found by sending them over a pair.
absl::StatusOr<int> queue_memory(int type, const std::vector<std::string>& messages);

// Sends into another socket's queue. For its lifetime the writing socket has a send buffer that does not stand in the
// way, and no SO_PASSCRED, which would give a nameless writer a name.
class QueueWriter {
 public:
  static absl::StatusOr<QueueWriter> on(int fd);
  QueueWriter(QueueWriter&& other) noexcept;
  QueueWriter& operator=(QueueWriter&&) = delete;
  ~QueueWriter();

  // To the connected peer, or to `address` when it is not empty. Never waits.
  absl::Status send(absl::string_view data, bool stream, const SocketAddress& address) const;
  // With SCM_CREDENTIALS of `uid` and `gid` and the caller's pid. PERMISSION_DENIED when they are not the caller's to
  // use.
  absl::Status send_as(absl::string_view data, const SocketAddress& address, uid_t uid, gid_t gid) const;

 private:
  explicit QueueWriter(int fd) : fd_(fd) {}
  absl::Status send_message(absl::string_view data, const SocketAddress& address, const void* control,
                            size_t control_size, size_t& sent) const;
  int fd_ = -1;
  int send_buffer_ = 0;
  int pass_credentials_ = 0;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_SOCKET_QUEUE_H_
