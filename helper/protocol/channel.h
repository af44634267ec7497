// One end of the SEQPACKET conversation, for the helper and the tools (the SDK has its own,
// allocation-free one over the same bytes).
#ifndef STILLPOINT_HELPER_PROTOCOL_CHANNEL_H_
#define STILLPOINT_HELPER_PROTOCOL_CHANNEL_H_

#include <sys/socket.h>

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "helper/base/socket_fds.h"
#include "helper/base/unique_fd.h"
#include "helper/protocol/protocol.pb.h"

namespace stillpoint {

inline constexpr size_t kMaxPacketBytes = size_t{128} * 1024;
inline constexpr size_t kMaxPacketFds = kMaxSocketFds;

struct ReceivedPacket {
  protocol::Packet packet;
  std::vector<UniqueFd> fds;
  ucred sender = {};  // SCM_CREDENTIALS, filled in by the kernel; pid 0 when the socket does not pass them
};

class Channel {
 public:
  // Takes an SOCK_SEQPACKET AF_UNIX socket and turns SO_PASSCRED on.
  static absl::StatusOr<Channel> over(UniqueFd socket);
  // A connected pair; the second end is for the peer.
  static absl::StatusOr<std::pair<Channel, UniqueFd>> pair();

  int fd() const { return fd_.get(); }
  // Waits for room in the socket's buffer. UNAVAILABLE when the peer is gone.
  absl::Status send(const protocol::Packet& packet, const std::vector<int>& fds = {}) const;
  // For what may be lost, progress above all: an error instead of waiting for a peer that does not read.
  absl::Status send_if_room(const protocol::Packet& packet) const;
  // UNAVAILABLE at EOF (the peer is gone), DEADLINE_EXCEEDED, INVALID_ARGUMENT for a malformed or oversized packet.
  // Received fds are close-on-exec.
  absl::StatusOr<ReceivedPacket> receive(absl::Time deadline = absl::InfiniteFuture()) const;

 private:
  explicit Channel(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_PROTOCOL_CHANNEL_H_
