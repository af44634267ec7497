#include "helper/resources/socket_diag.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/socket_common.h"
#include "helper/resources/socket_netlink.h"

namespace stillpoint {
namespace {

bool read_attribute(uint16_t type, absl::string_view value, UnixSocketInfo& info) {
  uint32_t number = 0;
  unix_diag_vfs file = {};
  unix_diag_rqlen queue = {};
  uint32_t memory[SK_MEMINFO_VARS] = {};
  switch (type) {
    case UNIX_DIAG_NAME:
      info.name = std::string(value);
      return true;
    case UNIX_DIAG_PEER:
      if (!take_netlink(value, number)) return false;
      info.has_peer = true;
      info.peer_inode = number;
      return true;
    case UNIX_DIAG_ICONS:
      for (; take_netlink(value, number); value.remove_prefix(sizeof number)) info.waiting_clients.push_back(number);
      return value.empty();
    case UNIX_DIAG_VFS:
      if (!take_netlink(value, file)) return false;
      info.file_inode = file.udiag_vfs_ino;
      return true;
    case UNIX_DIAG_RQLEN:
      if (!take_netlink(value, queue)) return false;
      info.receive_queue = queue.udiag_rqueue;
      info.backlog = queue.udiag_wqueue;
      return true;
    case UNIX_DIAG_MEMINFO:
      // Grows at its end from release to release.
      if (value.size() < (SK_MEMINFO_WMEM_ALLOC + 1) * sizeof(uint32_t)) return false;
      std::memcpy(memory, value.data(), std::min(value.size(), sizeof memory));
      info.send_memory = memory[SK_MEMINFO_WMEM_ALLOC];
      return true;
    case UNIX_DIAG_SHUTDOWN:
      return take_netlink(value, info.shutdown);
    default:
      return true;
  }
}

absl::Status parse_socket(absl::string_view body, UnixSocketInfo& info) {
  unix_diag_msg message;
  if (!take_netlink(body, message)) return malformed_netlink("answer");
  info.type = message.udiag_type;
  info.state = message.udiag_state;
  info.inode = message.udiag_ino;
  RETURN_IF_ERROR(parse_netlink_attributes(body, sizeof message, [&](uint16_t type, absl::string_view value) {
    return read_attribute(type, value, info) ? absl::OkStatus() : malformed_netlink("attribute value");
  }));
  // A path comes with the NUL that ends it in some releases.
  if (!info.name.empty() && info.name[0] != '\0') info.name.resize(::strnlen(info.name.data(), info.name.size()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SocketDiag> SocketDiag::open() {
  ASSIGN_OR_RETURN(UniqueFd fd, new_socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
  return SocketDiag(std::move(fd));
}

absl::Status SocketDiag::parse(absl::string_view datagram, std::vector<UnixSocketInfo>& out, bool& done) {
  const auto enter = [&](absl::string_view body) { return parse_socket(body, out.emplace_back()); };
  return parse_netlink(datagram, enter, done);
}

absl::StatusOr<std::vector<UnixSocketInfo>> SocketDiag::ask(uint32_t inode, bool dump) {
  unix_diag_req request = {};
  request.sdiag_family = AF_UNIX;
  request.udiag_states = ~0u;
  request.udiag_ino = inode;
  request.udiag_show =
      UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN | UDIAG_SHOW_MEMINFO;
  request.udiag_cookie[0] = request.udiag_cookie[1] = ~0u;  // any
  std::vector<UnixSocketInfo> sockets;
  RETURN_IF_ERROR(ask_netlink(fd_.get(), {reinterpret_cast<const char*>(&request), sizeof request}, dump,
                              [&](absl::string_view body) { return parse_socket(body, sockets.emplace_back()); }));
  return sockets;
}

absl::StatusOr<UnixSocketInfo> SocketDiag::unix_socket(uint64_t inode) {
  ASSIGN_OR_RETURN(std::vector<UnixSocketInfo> sockets, ask(static_cast<uint32_t>(inode), false));
  if (sockets.size() != 1) return malformed_netlink("answer: not one socket");
  return std::move(sockets.front());
}

absl::StatusOr<std::vector<UnixSocketInfo>> SocketDiag::all_unix_sockets() { return ask(0, true); }

}  // namespace stillpoint
