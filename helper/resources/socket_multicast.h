// Multicast memberships of one UDP socket. The kernel lists the groups of an interface, not those of a socket, but it
// answers for a socket when asked about one group: so each of the interfaces' groups is asked about.
#ifndef STILLPOINT_HELPER_RESOURCES_SOCKET_MULTICAST_H_
#define STILLPOINT_HELPER_RESOURCES_SOCKET_MULTICAST_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/resources/open_file_kind.h"
#include "helper/resources/socket.pb.h"
#include "helper/resources/socket_address.h"

namespace stillpoint {

struct MulticastGroup {
  unsigned interface = 0;  // index
  SocketAddress group;
};
// Text of /proc/net/igmp and /proc/net/igmp6.
absl::StatusOr<std::vector<MulticastGroup>> parse_igmp(absl::string_view text);
absl::StatusOr<std::vector<MulticastGroup>> parse_igmp6(absl::string_view text);

absl::Status read_memberships(int fd, int domain, resources::UdpSocketDetail& detail);
// A group whose interface this machine does not have is a note.
absl::Status join_groups(int fd, const resources::UdpSocketDetail& detail, const model::OpenFile& file,
                         OpenFileRestoreContext& context);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_SOCKET_MULTICAST_H_
