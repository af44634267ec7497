#include "helper/resources/socket_diag.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/socket_common.h"

namespace stillpoint {
namespace {

constexpr size_t kAnswerSize = size_t{64} * 1024;

struct Request {
  nlmsghdr header;
  unix_diag_req body;
};

// Copies a T out of the front of `bytes`, which the kernel does not promise to align; false when it is too short.
template <typename T>
bool take(absl::string_view bytes, T& out) {
  if (bytes.size() < sizeof out) return false;
  std::memcpy(&out, bytes.data(), sizeof out);
  return true;
}

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
      if (!take(value, number)) return false;
      info.has_peer = true;
      info.peer_inode = number;
      return true;
    case UNIX_DIAG_VFS:
      if (!take(value, file)) return false;
      info.file_inode = file.udiag_vfs_ino;
      return true;
    case UNIX_DIAG_RQLEN:
      if (!take(value, queue)) return false;
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
      return take(value, info.shutdown);
    default:
      return true;
  }
}

absl::Status malformed(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("NETLINK_SOCK_DIAG: malformed ", what));
}

absl::Status parse_socket(absl::string_view body, UnixSocketInfo& info) {
  unix_diag_msg message;
  if (!take(body, message)) return malformed("answer");
  info.type = message.udiag_type;
  info.state = message.udiag_state;
  info.inode = message.udiag_ino;
  body.remove_prefix(std::min(body.size(), size_t{NLMSG_ALIGN(sizeof message)}));
  while (!body.empty()) {
    rtattr attribute;
    if (!take(body, attribute) || attribute.rta_len < sizeof attribute || attribute.rta_len > body.size()) {
      return malformed("attribute");
    }
    const absl::string_view value = body.substr(sizeof attribute, attribute.rta_len - sizeof attribute);
    if (!read_attribute(attribute.rta_type & NLA_TYPE_MASK, value, info)) return malformed("attribute value");
    body.remove_prefix(std::min(body.size(), size_t{RTA_ALIGN(attribute.rta_len)}));
  }
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
  while (!datagram.empty()) {
    nlmsghdr header;
    if (!take(datagram, header) || header.nlmsg_len < sizeof header || header.nlmsg_len > datagram.size()) {
      return malformed("message");
    }
    const absl::string_view body = datagram.substr(sizeof header, header.nlmsg_len - sizeof header);
    if (header.nlmsg_type == NLMSG_DONE) {
      done = true;
      return absl::OkStatus();
    }
    if (header.nlmsg_type == NLMSG_ERROR) {
      int32_t error = 0;
      if (!take(body, error) || error > 0 || error < -4095) return malformed("error");
      done = true;
      return error == 0 ? absl::OkStatus() : errno_status(-error, "NETLINK_SOCK_DIAG");
    }
    if (header.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
      UnixSocketInfo info;
      RETURN_IF_ERROR(parse_socket(body, info));
      out.push_back(std::move(info));
    }
    datagram.remove_prefix(std::min(datagram.size(), size_t{NLMSG_ALIGN(header.nlmsg_len)}));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<UnixSocketInfo>> SocketDiag::ask(uint32_t inode, bool dump) {
  Request request = {};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | (dump ? NLM_F_DUMP : 0));
  request.body.sdiag_family = AF_UNIX;
  request.body.udiag_states = ~0u;
  request.body.udiag_ino = inode;
  request.body.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_MEMINFO;
  request.body.udiag_cookie[0] = request.body.udiag_cookie[1] = ~0u;  // any
  if (::send(fd_.get(), &request, sizeof request, 0) != static_cast<ssize_t>(sizeof request)) {
    return errno_status(errno, "send to NETLINK_SOCK_DIAG");
  }
  std::vector<UnixSocketInfo> sockets;
  std::string buffer(kAnswerSize, '\0');
  for (bool done = false; !done;) {
    const ssize_t size = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return errno_status(errno, "recv from NETLINK_SOCK_DIAG");
    if (static_cast<size_t>(size) > buffer.size()) return malformed("answer: too long");
    RETURN_IF_ERROR(parse(absl::string_view(buffer.data(), static_cast<size_t>(size)), sockets, done));
    if (!dump) done = true;
  }
  return sockets;
}

absl::StatusOr<UnixSocketInfo> SocketDiag::unix_socket(uint64_t inode) {
  ASSIGN_OR_RETURN(std::vector<UnixSocketInfo> sockets, ask(static_cast<uint32_t>(inode), false));
  if (sockets.size() != 1) return malformed("answer: not one socket");
  return std::move(sockets.front());
}

absl::StatusOr<std::vector<UnixSocketInfo>> SocketDiag::all_unix_sockets() { return ask(0, true); }

}  // namespace stillpoint
