// Socket options of every family, by one table: read those that differ from a fresh socket's, and set them again.
//
// Not in the table because the kernel does not give them back: TCP_MD5SIG and TCP_AO keys, SO_ATTACH_REUSEPORT_*
// programs, and values the kernel owns (TCP_QUICKACK, SO_INCOMING_CPU).
#ifndef STILLPOINT_HELPER_RESOURCES_SOCKET_OPTIONS_H_
#define STILLPOINT_HELPER_RESOURCES_SOCKET_OPTIONS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/resources/open_file_kind.h"
#include "helper/resources/socket.pb.h"
#include "helper/resources/socket_common.h"

namespace stillpoint {

// True when the socket has a filter that SO_GET_FILTER does not give back (eBPF).
bool has_bpf_filter(int fd);

// Options and classic filter of `fd`.
absl::StatusOr<resources::SocketSettings> read_socket_settings(int fd, const SocketIdentity& identity);

// Most options must stand before bind(2), connect(2) and listen(2); a few would get in the way of restoring and come
// last: SO_PEEK_OFF, SO_PASSCRED, UDP_CORK, the filter and its lock.
enum class SettingsPhase { kBeforeBind, kLast };

// Unknown names and misshapen values are DATA_LOSS. An option that cannot be set is a note, or an error where the
// socket would then talk to somebody else than before (SO_BINDTODEVICE, SO_MARK, IPV6_V6ONLY, IP_TRANSPARENT).
absl::Status apply_socket_settings(int fd, const resources::SocketSettings& settings, SettingsPhase phase,
                                   absl::string_view object, OpenFileRestoreContext& context);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_SOCKET_OPTIONS_H_
