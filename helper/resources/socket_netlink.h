// Questions to NETLINK_SOCK_DIAG and the framing of its answers.
#ifndef STILLPOINT_HELPER_RESOURCES_SOCKET_NETLINK_H_
#define STILLPOINT_HELPER_RESOURCES_SOCKET_NETLINK_H_

#include <cstring>
#include <functional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace stillpoint {

// Copies a T out of the front of `bytes`, which the kernel does not promise to align; false when it is too short.
template <typename T>
bool take_netlink(absl::string_view bytes, T& out) {
  if (bytes.size() < sizeof out) return false;
  std::memcpy(&out, bytes.data(), sizeof out);
  return true;
}

// DATA_LOSS: an answer that cannot be understood.
absl::Status malformed_netlink(absl::string_view what);

// Called with each answer's body, or with each attribute of one.
using NetlinkBody = std::function<absl::Status(absl::string_view body)>;
using NetlinkAttribute = std::function<absl::Status(uint16_t type, absl::string_view value)>;

// The messages of one datagram. Sets `done` at the end of a dump.
absl::Status parse_netlink(absl::string_view datagram, const NetlinkBody& body, bool& done);
// The attributes that follow the first `header` bytes of a body.
absl::Status parse_netlink_attributes(absl::string_view body, size_t header, const NetlinkAttribute& attribute);

// Sends SOCK_DIAG_BY_FAMILY with `request` and reads the answers: one, or with `dump` all.
absl::Status ask_netlink(int fd, absl::string_view request, bool dump, const NetlinkBody& body);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_SOCKET_NETLINK_H_
