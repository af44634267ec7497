// A small client of NETLINK_SOCK_DIAG for UNIX sockets: who the peer is, what the queue holds, how it was shut down.
// It sees the sockets of the caller's network namespace, and needs no privilege.
#ifndef STILLPOINT_HELPER_RESOURCES_SOCKET_DIAG_H_
#define STILLPOINT_HELPER_RESOURCES_SOCKET_DIAG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/base/unique_fd.h"

namespace stillpoint {

struct UnixSocketInfo {
  int type = 0;   // SOCK_*
  int state = 0;  // TCP_ESTABLISHED, TCP_LISTEN, TCP_CLOSE of <netinet/tcp.h>
  uint64_t inode = 0;
  std::string name;  // sun_path as SocketAddress::unix_name() gives it
  bool has_peer = false;
  uint64_t peer_inode = 0;                // 0 with has_peer: closed, or not accepted yet
  std::optional<uint64_t> file_inode;     // of the path it is bound to; the low 32 bits
  std::vector<uint64_t> waiting_clients;  // listening: inodes of those not accepted yet, in their order; 0: it has gone
  uint32_t receive_queue = 0;             // listening: connections that wait; else bytes
  uint32_t backlog = 0;                   // listening
  uint32_t send_memory = 0;               // bytes of kernel memory held by what it sent and nobody has read
  uint8_t shutdown = 0;                   // 1: reading, 2: writing
};

class SocketDiag {
 public:
  // UNIMPLEMENTED (ENOENT, EPROTONOSUPPORT) where the kernel was built without it.
  static absl::StatusOr<SocketDiag> open();

  // NOT_FOUND when no UNIX socket of this namespace has that inode.
  absl::StatusOr<UnixSocketInfo> unix_socket(uint64_t inode);
  absl::StatusOr<std::vector<UnixSocketInfo>> all_unix_sockets();

  // For tests: parses the messages of one datagram. Sets `done` at the end of a dump.
  static absl::Status parse(absl::string_view datagram, std::vector<UnixSocketInfo>& out, bool& done);

 private:
  explicit SocketDiag(UniqueFd fd) : fd_(std::move(fd)) {}
  absl::StatusOr<std::vector<UnixSocketInfo>> ask(uint32_t inode, bool dump);

  UniqueFd fd_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_SOCKET_DIAG_H_
