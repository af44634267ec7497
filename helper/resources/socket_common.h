// What all kinds of sockets share: telling them apart, asking single questions, and the findings they have in common.
#ifndef STILLPOINT_HELPER_RESOURCES_SOCKET_COMMON_H_
#define STILLPOINT_HELPER_RESOURCES_SOCKET_COMMON_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// SO_DOMAIN, SO_TYPE and SO_PROTOCOL.
struct SocketIdentity {
  int domain = 0;
  int type = 0;
  int protocol = 0;
};

// True for a socket, whether or not there is a copy of it to ask. An O_PATH descriptor of a socket's file is none.
bool is_socket(const OpenFileView& file);
// Empty when the file is not a socket or there is no copy to ask.
std::optional<SocketIdentity> identify_socket(const OpenFileView& file);

absl::StatusOr<UniqueFd> new_socket(int domain, int type, int protocol);
absl::StatusOr<int> int_socket_option(int fd, int level, int option, absl::string_view name);
absl::Status set_int_socket_option(int fd, int level, int option, int value, absl::string_view name);
// ioctl(2) with an int result: SIOCINQ, SIOCOUTQ.
absl::StatusOr<int> socket_ioctl(int fd, unsigned long request, absl::string_view name);
// poll(2) without waiting: the events that stand, POLLERR and POLLHUP among them. Unlike SO_ERROR it takes nothing
// away.
absl::StatusOr<short> poll_now(int fd, short events);

struct SocketEnds {
  UniqueFd own, other;
};
// The end of a connection inside the image that is this file's: what its peer's restore has left, or else one of those
// that `make` makes now; the peer's is left for it. DATA_LOSS when the image gives the peer to somebody else.
// `left`: it was there already, and is yet to be looked at.
absl::StatusOr<UniqueFd> take_socket_end(const model::OpenFile& file, uint64_t peer, OpenFileRestoreContext& context,
                                         absl::FunctionRef<absl::StatusOr<SocketEnds>()> make, bool& left);

// ", held by pid 42 (Xorg)", or nothing where /proc does not show it.
std::string holder_of_socket(uint64_t inode);

// SP-SOCKET-UNREADABLE: a question to the kernel failed.
Finding unreadable_socket(const OpenFileView& file, const absl::Status& why);
// SP-SOCKET-BPF: an eBPF program is attached, which no interface reads back.
Finding bpf_filter_finding(const OpenFileView& file);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_SOCKET_COMMON_H_
