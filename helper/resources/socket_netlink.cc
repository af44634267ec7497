#include "helper/resources/socket_netlink.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"

namespace stillpoint {
namespace {

constexpr size_t kAnswerSize = size_t{64} * 1024;

absl::Status send_request(int fd, absl::string_view request, bool dump) {
  nlmsghdr header = {};
  header.nlmsg_len = static_cast<uint32_t>(sizeof header + request.size());
  header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | (dump ? NLM_F_DUMP : 0));
  std::string message(reinterpret_cast<const char*>(&header), sizeof header);
  message.append(request.data(), request.size());
  if (::send(fd, message.data(), message.size(), 0) == static_cast<ssize_t>(message.size())) return absl::OkStatus();
  return errno_status(errno, "send to NETLINK_SOCK_DIAG");
}

}  // namespace

absl::Status malformed_netlink(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("NETLINK_SOCK_DIAG: malformed ", what));
}

absl::Status parse_netlink(absl::string_view datagram, const NetlinkBody& body, bool& done) {
  while (!datagram.empty()) {
    nlmsghdr header;
    if (!take_netlink(datagram, header) || header.nlmsg_len < sizeof header || header.nlmsg_len > datagram.size()) {
      return malformed_netlink("message");
    }
    const absl::string_view content = datagram.substr(sizeof header, header.nlmsg_len - sizeof header);
    if (header.nlmsg_type == NLMSG_DONE) {
      done = true;
      return absl::OkStatus();
    }
    if (header.nlmsg_type == NLMSG_ERROR) {
      int32_t error = 0;
      if (!take_netlink(content, error) || error > 0 || error < -4095) return malformed_netlink("error");
      done = true;
      return error == 0 ? absl::OkStatus() : errno_status(-error, "NETLINK_SOCK_DIAG");
    }
    if (header.nlmsg_type == SOCK_DIAG_BY_FAMILY) RETURN_IF_ERROR(body(content));
    datagram.remove_prefix(std::min(datagram.size(), size_t{NLMSG_ALIGN(header.nlmsg_len)}));
  }
  return absl::OkStatus();
}

absl::Status parse_netlink_attributes(absl::string_view body, size_t header, const NetlinkAttribute& attribute) {
  body.remove_prefix(std::min(body.size(), size_t{NLMSG_ALIGN(header)}));
  while (!body.empty()) {
    rtattr part;
    if (!take_netlink(body, part) || part.rta_len < sizeof part || part.rta_len > body.size()) {
      return malformed_netlink("attribute");
    }
    RETURN_IF_ERROR(attribute(part.rta_type & NLA_TYPE_MASK, body.substr(sizeof part, part.rta_len - sizeof part)));
    body.remove_prefix(std::min(body.size(), size_t{RTA_ALIGN(part.rta_len)}));
  }
  return absl::OkStatus();
}

absl::Status ask_netlink(int fd, absl::string_view request, bool dump, const NetlinkBody& body) {
  RETURN_IF_ERROR(send_request(fd, request, dump));
  std::string buffer(kAnswerSize, '\0');
  for (bool done = false; !done;) {
    const ssize_t size = ::recv(fd, buffer.data(), buffer.size(), MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return errno_status(errno, "recv from NETLINK_SOCK_DIAG");
    if (static_cast<size_t>(size) > buffer.size()) return malformed_netlink("answer: too long");
    RETURN_IF_ERROR(parse_netlink(absl::string_view(buffer.data(), static_cast<size_t>(size)), body, done));
    if (!dump) done = true;
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
