#include "tools/helper_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/protocol/context.h"
#include "tools/child_process.h"
#include "tools/console.h"
#include "tools/duration.h"

namespace stillpoint::tools {
namespace {

constexpr char kServicePrefix[] = "unix:";

absl::StatusOr<std::string> own_directory() {
  char path[4096];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  if (length < 0) return errno_status(errno, "readlink of /proc/self/exe");
  const std::string self(path, static_cast<size_t>(length));
  return self.substr(0, self.rfind('/'));
}

absl::StatusOr<UniqueFd> connect_to_service(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError(absl::StrCat("STILLPOINT_HELPER: ", path, " is too long for a UNIX socket"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return errno_status(errno, "socket(AF_UNIX, SOCK_SEQPACKET)");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return errno_status(errno, absl::StrCat("connect to the Stillpoint service at ", path));
  }
  return fd;
}

// In the forked child. The helper keeps our stdio and gets its end of the conversation as fd 3, nothing else.
void become_helper_side(int end, const HelperProcess::StartOptions& options, pid_t parent) {
  if (options.dies_with_us) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
  }
  if (end == 3) {
    (void)::fcntl(3, F_SETFD, 0);
  } else {
    (void)::dup2(end, 3);
  }
}

}  // namespace

absl::StatusOr<std::string> find_helper() {
  if (const char* named = ::secure_getenv("STILLPOINT_HELPER"); named != nullptr && *named != '\0') {
    if (absl::StartsWith(named, kServicePrefix) || ::access(named, X_OK) == 0) return std::string(named);
    return errno_status(errno, absl::StrCat("STILLPOINT_HELPER names ", named, ", which cannot be executed"));
  }
  ASSIGN_OR_RETURN(const std::string here, own_directory());
  const std::vector<std::string> places = {
      absl::StrCat(here, "/stillpoint-helper"),
      absl::StrCat(here, "/../libexec/stillpoint/stillpoint-helper"),
      absl::StrCat(here, "/../helper/service/stillpoint-helper"),  // the build tree
      STILLPOINT_INSTALLED_HELPER,
  };
  for (const std::string& place : places) {
    if (::access(place.c_str(), X_OK) == 0) return std::filesystem::path(place).lexically_normal().string();
  }
  return absl::NotFoundError(absl::StrCat("stillpoint-helper is not in any of ", absl::StrJoin(places, ", "),
                                          "; install it there, or set STILLPOINT_HELPER to its path"));
}

absl::StatusOr<HelperProcess> HelperProcess::start(const StartOptions& options) {
  ASSIGN_OR_RETURN(const std::string helper, find_helper());
  absl::string_view service = helper;
  if (absl::ConsumePrefix(&service, kServicePrefix)) {
    if (options.must_be_child) {
      return absl::FailedPreconditionError(
          "STILLPOINT_HELPER names a service, but the restarted program must be a child of this process; set it to the "
          "path of stillpoint-helper, or unset it");
    }
    ASSIGN_OR_RETURN(UniqueFd socket, connect_to_service(std::string(service)));
    ASSIGN_OR_RETURN(Channel channel, Channel::over(std::move(socket)));
    return HelperProcess(std::move(channel), 0, helper);
  }
  ASSIGN_OR_RETURN(auto ends, Channel::pair());
  const pid_t parent = ::getpid();
  const int end = ends.second.get();
  SpawnOptions spawn;
  spawn.path = helper;
  spawn.arguments = {"stillpoint-helper", "--fd", "3"};
  spawn.keep_fds_below = 4;
  spawn.in_child = [end, options, parent] { become_helper_side(end, options, parent); };
  ASSIGN_OR_RETURN(const SpawnedProcess child, spawn_process(spawn));
  if (child.exec_error != 0) return errno_status(child.exec_error, absl::StrCat("execve of ", helper));
  return HelperProcess(std::move(ends.first), child.pid, helper);
}

HelperProcess::HelperProcess(HelperProcess&& other) noexcept
    : channel_(std::move(other.channel_)), pid_(std::exchange(other.pid_, 0)), path_(std::move(other.path_)) {}

HelperProcess::~HelperProcess() {
  if (pid_ == 0) return;
  // A helper that has replied, or lost its peer, ends by itself: the end of the conversation is an EOF for it.
  (void)::shutdown(channel_.fd(), SHUT_RDWR);
  (void)wait_for(pid_, absl::Now() + absl::Seconds(20));
  kill();
}

void HelperProcess::kill() {
  if (pid_ == 0) return;
  (void)::kill(pid_, SIGKILL);
  (void)wait_for(pid_, absl::InfiniteFuture());
  pid_ = 0;
}

absl::Status HelperProcess::died() {
  if (pid_ == 0) return absl::UnavailableError("the Stillpoint service closed the connection without a reply");
  const absl::StatusOr<int> status = wait_for(pid_, absl::Now() + absl::Seconds(5));
  if (!status.ok()) return absl::UnavailableError("the helper closed the conversation without a reply");
  pid_ = 0;
  // A helper that gives up says why before it ends.
  const std::string doubt =
      WIFEXITED(*status) ? absl::StrCat("; ", path_, " may not be stillpoint-helper (", path_, " --version tells)")
                         : "";
  return absl::UnavailableError(
      absl::StrCat("the helper died without a reply (", describe_wait_status(*status), ")", doubt));
}

absl::StatusOr<HelperReply> HelperProcess::ask(const protocol::Request& request, const std::vector<int>& fds,
                                               const std::function<void(const protocol::Event&)>& on_event,
                                               int interruption_fd) {
  protocol::Packet packet;
  *packet.mutable_request() = request;
  packet.mutable_request()->set_version(protocol::kProtocolVersion);
  if (const absl::Status sent = channel_.send(packet, fds); !sent.ok()) {
    return absl::IsUnavailable(sent) ? died() : with_context(sent, "request to the helper");
  }
  for (;;) {
    pollfd wanted[2] = {{channel_.fd(), POLLIN, 0}, {interruption_fd, POLLIN, 0}};
    if (::poll(wanted, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return errno_status(errno, "poll");
    }
    if (wanted[0].revents == 0) return absl::CancelledError("interrupted");
    absl::StatusOr<ReceivedPacket> received = channel_.receive();
    if (absl::IsUnavailable(received.status())) return died();
    if (!received.ok()) return with_context(received.status(), "answer of the helper");
    if (received->packet.has_event()) {
      if (on_event) on_event(received->packet.event());
    } else if (received->packet.has_reply()) {
      RETURN_IF_ERROR(status_of(received->packet.reply()));
      return HelperReply{received->packet.reply(), std::move(received->fds)};
    } else {
      return absl::InternalError("the helper sent a packet that is neither an event nor a reply");
    }
  }
}

absl::Status status_of(const protocol::Reply& reply) {
  if (reply.code() == 0) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(reply.code());
  return with_findings(absl::Status(code, reply.message()), reply.findings());
}

}  // namespace stillpoint::tools
