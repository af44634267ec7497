#include "helper/service/listener.h"

#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/service/server.h"

namespace stillpoint {
namespace {

absl::StatusOr<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError(absl::StrCat("socket path empty or longer than 107 bytes: ", path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Removes a socket that nobody listens on. Whatever else is there stays and is the error.
absl::Status remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) < 0) {
    return errno == ENOENT ? absl::OkStatus() : errno_status(errno, absl::StrCat("lstat ", path));
  }
  if (!S_ISSOCK(info.st_mode)) return absl::AlreadyExistsError(absl::StrCat(path, " is there and is no socket"));
  const UniqueFd probe(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!probe.valid()) return errno_status(errno, "socket(AF_UNIX)");
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return absl::AlreadyExistsError(absl::StrCat("another service listens on ", path));
  }
  if (errno != ECONNREFUSED) return errno_status(errno, absl::StrCat("connect to ", path));
  if (::unlink(path.c_str()) < 0) return errno_status(errno, absl::StrCat("unlink ", path));
  return absl::OkStatus();
}

absl::Status admit(const std::string& path, const std::string& group) {
  if (!group.empty()) {
    const ::group* entry = ::getgrnam(group.c_str());
    if (entry == nullptr) return absl::NotFoundError(absl::StrCat("there is no group ", group));
    if (::chown(path.c_str(), static_cast<uid_t>(-1), entry->gr_gid) < 0) {
      return errno_status(errno, absl::StrCat("chown of ", path, " to group ", group));
    }
  }
  if (::chmod(path.c_str(), group.empty() ? 0666 : 0660) < 0) return errno_status(errno, absl::StrCat("chmod ", path));
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> signal_fd() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&signals, signal);
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return errno_status(errno, "signalfd");
  return fd;
}

// True when one of them asks the service to end.
bool drain(int fd) {
  bool end = false;
  signalfd_siginfo info{};
  while (::read(fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) end = end || info.ssi_signo != SIGCHLD;
  return end;
}

void log_request(const ucred& peer, const absl::Status& status) {
  std::fprintf(stderr, "pid %d uid %u: %s\n", peer.pid, peer.uid, status.ok() ? "served" : status.ToString().c_str());
}

}  // namespace

absl::StatusOr<Listener> Listener::bind(const ListenerOptions& options) {
  ASSIGN_OR_RETURN(const sockaddr_un address, address_of(options.path));
  RETURN_IF_ERROR(remove_stale(options.path, address));
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return errno_status(errno, "socket(AF_UNIX, SOCK_SEQPACKET)");
  // Connections inherit it: the first message's sender is known too.
  const int on = 1;
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0) {
    return errno_status(errno, "setsockopt(SO_PASSCRED)");
  }
  // Nobody connects before admit() has said who may.
  const mode_t mask = ::umask(0777);
  const int bound = ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  ::umask(mask);
  if (bound < 0) return errno_status(error, absl::StrCat("bind to ", options.path));
  Listener listener(options, std::move(socket));
  RETURN_IF_ERROR(admit(options.path, options.group));
  if (::listen(listener.socket_.get(), 128) < 0) return errno_status(errno, absl::StrCat("listen on ", options.path));
  return listener;
}

Listener::~Listener() {
  if (socket_.valid()) ::unlink(options_.path.c_str());
}

absl::Status Listener::run() {
  ASSIGN_OR_RETURN(const UniqueFd signals, signal_fd());
  for (bool end = false; !end || !children_.empty();) {
    pollfd fds[] = {{signals.get(), POLLIN, 0}, {end ? -1 : socket_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return errno_status(errno, "poll");
    end = drain(signals.get()) || end;
    reap();
    if (!end && (fds[1].revents & POLLIN) != 0) {
      if (const absl::Status status = accept_one(); !status.ok())
        std::fprintf(stderr, "%s\n", status.ToString().c_str());
    }
  }
  return absl::OkStatus();
}

void Listener::reap() {
  for (pid_t pid = 0; (pid = ::waitpid(-1, nullptr, WNOHANG)) > 0;) children_.erase(pid);
}

absl::Status Listener::room_for(uid_t uid) const {
  size_t own = 0;
  for (const auto& [pid, owner] : children_) own += owner == uid ? 1 : 0;
  if (children_.size() >= options_.max_clients || (uid != 0 && own >= options_.max_clients_per_user)) {
    return absl::ResourceExhaustedError(absl::StrCat("the service is busy with ", children_.size(), " requests, ", own,
                                                     " of them of uid ", uid, "; try again later"));
  }
  return absl::OkStatus();
}

absl::Status Listener::accept_one() {
  UniqueFd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.valid()) {
    const bool gone = errno == EAGAIN || errno == ECONNABORTED || errno == EINTR;
    return gone ? absl::OkStatus() : errno_status(errno, "accept4");
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
    return errno_status(errno, "getsockopt(SO_PEERCRED)");
  }
  if (absl::Status room = room_for(peer.uid); !room.ok()) {
    refuse(std::move(connection), room);
    return room;
  }
  const pid_t pid = ::fork();
  if (pid < 0) return errno_status(errno, "fork");
  if (pid == 0) {
    socket_.reset();
    ServerOptions options;
    options.mode = ServerMode::kService;
    const absl::Status status = serve(std::move(connection), options);
    log_request(peer, status);
    ::_exit(status.ok() ? 0 : 1);
  }
  children_[pid] = peer.uid;
  return absl::OkStatus();
}

}  // namespace stillpoint
