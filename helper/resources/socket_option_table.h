// The table behind socket_options.h; tests sweep over it.
#ifndef STILLPOINT_HELPER_RESOURCES_SOCKET_OPTION_TABLE_H_
#define STILLPOINT_HELPER_RESOURCES_SOCKET_OPTION_TABLE_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "helper/resources/socket_common.h"

namespace stillpoint {

// How getsockopt(2) gives the value and setsockopt(2) takes it.
enum class OptionForm {
  kInt,
  kBuffer,   // int; SO_SNDBUF and SO_RCVBUF, which the kernel doubles
  kText,     // without the NUL
  kLinger,   // struct linger
  kTimeval,  // struct timeval
  kInAddr,   // struct in_addr
  kUint64,
  kBytes,  // up to 40 bytes: IP options
};

enum OptionScope : unsigned {
  kForUnix = 1,
  kForTcp = 2,
  kForUdp = 4,
  kForInet = kForTcp | kForUdp,
  kForAll = kForUnix | kForInet,
  kInet6Only = 8,
};

enum OptionTraits : unsigned {
  kPlain = 0,
  kRequired = 1,  // a failure to set it fails the restore
  kAlways = 2,    // stored even when it equals a fresh socket's: hosts differ in the default
  kLast = 4,      // SettingsPhase::kLast
};

struct SocketOptionEntry {
  absl::string_view name;
  int level;
  int number;
  OptionForm form;
  unsigned scope;
  unsigned traits;
};

absl::Span<const SocketOptionEntry> socket_option_table();
const SocketOptionEntry* find_socket_option(absl::string_view name);
bool applies_to(const SocketOptionEntry& entry, const SocketIdentity& identity);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_SOCKET_OPTION_TABLE_H_
