#include "helper/resources/socket_common.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/detail.h"
#include "helper/resources/printable.h"

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

absl::StatusOr<UniqueFd> take_socket_end(const model::OpenFile& file, uint64_t peer, OpenFileRestoreContext& context,
                                         absl::FunctionRef<absl::StatusOr<SocketEnds>()> make, bool& left) {
  auto& spare_ends = context.spare_ends();
  const auto spare = spare_ends.find(file.id());
  left = spare != spare_ends.end();
  if (left) {
    UniqueFd own = std::move(spare->second);
    spare_ends.erase(spare);
    return own;
  }
  if (context.fd_of(peer) >= 0 || spare_ends.contains(peer) || peer == file.id()) {
    return damaged_detail(file, "its peer belongs to another pair");
  }
  ASSIGN_OR_RETURN(SocketEnds ends, make());
  spare_ends.emplace(peer, std::move(ends.other));
  return std::move(ends.own);
}

std::string holder_of_socket(uint64_t inode) {
  const std::string link = absl::StrCat("socket:[", inode, "]");
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), &::closedir);
  if (proc == nullptr) return "";
  while (const dirent* entry = ::readdir(proc.get())) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry->d_name, &pid)) continue;
    const absl::StatusOr<std::vector<int>> numbers = procfs::read_fds(pid);
    if (!numbers.ok()) continue;
    for (const int number : *numbers) {
      const absl::StatusOr<std::string> target = procfs::read_link(absl::StrCat("/proc/", pid, "/fd/", number));
      if (!target.ok() || *target != link) continue;
      const absl::StatusOr<procfs::Stat> process = procfs::read_stat(pid);
      return absl::StrCat(", held by pid ", pid, process.ok() ? absl::StrCat(" (", printable(process->comm), ")") : "");
    }
  }
  return "";
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
