// Both ends of a TCP connection made anew on this host, with the addresses and ports they had: one end listens for a
// moment, the other connects. It takes no privilege.
#ifndef STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_PAIR_H_
#define STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_PAIR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/base/unique_fd.h"
#include "helper/resources/open_file_kind.h"
#include "helper/resources/socket_address.h"
#include "helper/resources/socket_common.h"

namespace stillpoint {

struct TcpEnd {
  int domain = 0;         // AF_INET or AF_INET6
  SocketAddress address;  // of that domain; empty: any port of the loopback interface
  bool v6_only = false;
};

// Both ends have SO_REUSEADDR, so that listeners can have the same ports. Where a connection of the earlier life still
// keeps an address (TIME_WAIT), this waits for it, for a minute at most. An address that this host does not have, or a
// port that somebody else has, is replaced, and a note says so.
absl::StatusOr<SocketEnds> make_tcp_pair(const TcpEnd& own, const TcpEnd& other, absl::string_view object,
                                         OpenFileRestoreContext& context);

// Binds a client's end, which is to connect later, with SO_REUSEADDR.
absl::Status bind_tcp_client(int fd, const SocketAddress& address);

// Without waiting for longer than the loopback interface takes.
absl::Status connect_tcp(int fd, const SocketAddress& address);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_PAIR_H_
