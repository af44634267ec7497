// A small client of NETLINK_SOCK_DIAG for TCP: who is at the other end of a connection on this host. It sees the
// caller's network namespace, and needs no privilege.
#ifndef STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_DIAG_H_
#define STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_DIAG_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/base/unique_fd.h"
#include "helper/resources/socket_address.h"

namespace stillpoint {

// States as the kernel numbers them; <netinet/tcp.h> collides with the newer <linux/tcp.h>.
enum TcpState : uint8_t {
  kTcpEstablished = 1,
  kTcpSynSent = 2,
  kTcpSynReceived = 3,
  kTcpFinWait1 = 4,
  kTcpFinWait2 = 5,
  kTcpTimeWait = 6,
  kTcpClose = 7,
  kTcpCloseWait = 8,
  kTcpLastAck = 9,
  kTcpListen = 10,
  kTcpClosing = 11,
};
absl::string_view tcp_state_name(uint8_t state);

struct TcpSocketInfo {
  uint8_t state = 0;
  uint64_t inode = 0;  // 0: of no process: not accepted yet, or closed
  uint32_t receive_queue = 0;
  SocketAddress local;
  SocketAddress peer;
};

class TcpDiag {
 public:
  static absl::StatusOr<TcpDiag> open();

  // The socket with exactly these addresses, an IPv6 socket that speaks IPv4 included. NOT_FOUND: none.
  absl::StatusOr<TcpSocketInfo> connection(const SocketAddress& local, const SocketAddress& peer);
  // All sockets of either family with that local port.
  absl::StatusOr<std::vector<TcpSocketInfo>> at_port(uint16_t port);

 private:
  explicit TcpDiag(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_DIAG_H_
