#include "helper/resources/socket_common.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"

namespace stillpoint {

bool is_socket(const OpenFileView& file) { return S_ISSOCK(file.stat.st_mode) && (file.flags & O_PATH) == 0; }

std::optional<SocketIdentity> identify_socket(const OpenFileView& file) {
  if (!is_socket(file) || file.fd < 0) return std::nullopt;
  const absl::StatusOr<int> domain = int_socket_option(file.fd, SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN");
  const absl::StatusOr<int> type = int_socket_option(file.fd, SOL_SOCKET, SO_TYPE, "SO_TYPE");
  const absl::StatusOr<int> protocol = int_socket_option(file.fd, SOL_SOCKET, SO_PROTOCOL, "SO_PROTOCOL");
  if (!domain.ok() || !type.ok() || !protocol.ok()) return std::nullopt;
  return SocketIdentity{*domain, *type, *protocol};
}

absl::StatusOr<UniqueFd> new_socket(int domain, int type, int protocol) {
  UniqueFd fd(::socket(domain, type | SOCK_CLOEXEC, protocol));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("socket(", domain, ", ", type, ", ", protocol, ")"));
  return fd;
}

absl::StatusOr<int> int_socket_option(int fd, int level, int option, absl::string_view name) {
  int value = 0;
  socklen_t length = sizeof value;
  if (::getsockopt(fd, level, option, &value, &length) != 0) {
    return errno_status(errno, absl::StrCat("getsockopt(", name, ")"));
  }
  return value;
}

absl::Status set_int_socket_option(int fd, int level, int option, int value, absl::string_view name) {
  if (::setsockopt(fd, level, option, &value, sizeof value) == 0) return absl::OkStatus();
  return errno_status(errno, absl::StrCat("setsockopt(", name, ", ", value, ")"));
}

absl::StatusOr<int> socket_ioctl(int fd, unsigned long request, absl::string_view name) {
  int value = 0;
  if (::ioctl(fd, request, &value) != 0) return errno_status(errno, absl::StrCat("ioctl(", name, ")"));
  return value;
}

absl::StatusOr<short> poll_now(int fd, short events) {
  pollfd request = {fd, events, 0};
  int ready;
  do {
    ready = ::poll(&request, 1, 0);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return errno_status(errno, "poll");
  return request.revents;
}

Finding unreadable_socket(const OpenFileView& file, const absl::Status& why) {
  return {"SP-SOCKET-UNREADABLE", describe(file), std::string(why.message()),
          "close it in a pre-dump hook (stillpoint::on_pre_dump) and open it again in post-resume and post-restore "
          "hooks"};
}

Finding bpf_filter_finding(const OpenFileView& file) {
  return {"SP-SOCKET-BPF", describe(file), "an eBPF program is attached to it, which the kernel does not give back",
          "detach it (SO_DETACH_FILTER) in a pre-dump hook and attach it again in post-resume and post-restore hooks"};
}

}  // namespace stillpoint
