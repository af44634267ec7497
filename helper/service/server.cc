#include "helper/service/server.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/check/check.h"
#include "helper/dump/dump.h"
#include "helper/protocol/channel.h"
#include "helper/protocol/context.h"
#include "helper/restore/restore.h"
#include "helper/service/channel_sdk_thread.h"
#include "helper/service/client.h"
#include "helper/service/file_access.h"
#include "helper/service/namespaces.h"
#include "helper/service/reply.h"

namespace stillpoint {
namespace {

constexpr absl::Duration kProgressInterval = absl::Milliseconds(100);

// Tells the client how the dump goes on. Progress may get lost; the end of the pause may not.
class EventSender : public DumpObserver {
 public:
  explicit EventSender(const Channel& channel) : channel_(channel) {}

  void resumed(uint64_t pause_ns) override {
    protocol::Packet packet;
    packet.mutable_event()->set_resumed(true);
    packet.mutable_event()->set_pause_ns(pause_ns);
    // A client that is gone does not keep the image from being written.
    (void)channel_.send(packet);
  }

  void progress(uint64_t bytes_done, uint64_t bytes_total) override {
    const absl::Time now = absl::Now();
    if (now - last_ < kProgressInterval && bytes_done < bytes_total) return;
    last_ = now;
    protocol::Packet packet;
    packet.mutable_event()->set_bytes_done(bytes_done);
    packet.mutable_event()->set_bytes_total(bytes_total);
    (void)channel_.send_if_room(packet);
  }

 private:
  const Channel& channel_;
  absl::Time last_ = absl::InfinitePast();
};

// The one directory that came with the request, opened anew: whether it may be read and written is asked of the kernel
// with the client's rights.
absl::StatusOr<UniqueFd> directory_of(const ReceivedPacket& message) {
  if (message.fds.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the request came with ", message.fds.size(), " fds instead of a directory"));
  }
  struct stat info {};
  if (::fstat(message.fds[0].get(), &info) < 0) return errno_status(errno, "fstat on the request's fd");
  if (!S_ISDIR(info.st_mode)) return absl::InvalidArgumentError("the fd that came with the request is no directory");
  UniqueFd directory(::openat(message.fds[0].get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return errno_status(errno, "open of the request's directory");
  return directory;
}

// Carries out one request of an authenticated client.
class RequestHandler {
 public:
  RequestHandler(const Channel& channel, const Client& client, ServerMode mode)
      : channel_(channel), client_(client), mode_(mode) {}

  absl::StatusOr<protocol::Reply> checkpoint(const protocol::CheckpointRequest& request, const ReceivedPacket& message);
  absl::StatusOr<protocol::Reply> audit(const protocol::AuditRequest& request);
  // `fds` travel with the reply.
  absl::StatusOr<protocol::Reply> restart(const protocol::RestartRequest& request, const ReceivedPacket& message,
                                          std::vector<UniqueFd>& fds);
  absl::StatusOr<protocol::Reply> check(const protocol::CheckRequest& request);

 private:
  // The process the request is about; the pidfd keeps another from being taken for it.
  absl::StatusOr<pid_t> target(int32_t pid, UniqueFd& pidfd) const;
  // Only the process itself can offer a thread of its own.
  absl::Status set_sdk_thread(const protocol::SdkThread& thread, uint32_t helper_fd, pid_t pid,
                              std::optional<ChannelSdkThread>& holder, DumpOptions& options) const;

  const Channel& channel_;
  const Client& client_;
  const ServerMode mode_;
};

absl::StatusOr<pid_t> RequestHandler::target(int32_t pid, UniqueFd& pidfd) const {
  const pid_t wanted = pid == 0 ? client_.pid : pid;
  if (wanted <= 0) return absl::InvalidArgumentError(absl::StrCat("pid ", pid, " is none"));
  pidfd.reset(sys_pidfd_open(wanted, 0));
  if (!pidfd.valid()) return errno_status(errno, absl::StrCat("pidfd_open of pid ", wanted));
  RETURN_IF_ERROR(authorize(client_, wanted));
  // With rights that its client does not have, the helper stays where it is.
  if (mode_ == ServerMode::kService) return wanted;
  return join_namespaces(wanted, pidfd.get());
}

absl::Status RequestHandler::set_sdk_thread(const protocol::SdkThread& thread, uint32_t helper_fd, pid_t pid,
                                            std::optional<ChannelSdkThread>& holder, DumpOptions& options) const {
  if (pid != client_.pid) {
    return absl::PermissionDeniedError(absl::StrCat("pid ", client_.pid, " offers a thread of pid ", pid));
  }
  ASSIGN_OR_RETURN(ChannelSdkThread connection, ChannelSdkThread::from(thread, pid, helper_fd, channel_));
  holder.emplace(std::move(connection));
  options.sdk_thread = &*holder;
  return absl::OkStatus();
}

absl::StatusOr<protocol::Reply> RequestHandler::checkpoint(const protocol::CheckpointRequest& request,
                                                           const ReceivedPacket& message) {
  ASSIGN_OR_RETURN(const ClientFileAccess access, ClientFileAccess::assume(client_));
  ASSIGN_OR_RETURN(const UniqueFd directory, directory_of(message));
  UniqueFd pidfd;
  DumpOptions options;
  ASSIGN_OR_RETURN(options.pid, target(request.pid(), pidfd));
  options.stop = request.stop();
  options.keep_last = request.keep_last();
  options.embed = !request.no_embed();
  options.excluded.assign(request.excluded().begin(), request.excluded().end());
  if (request.deadline_ms() != 0) options.freeze_limit = absl::Milliseconds(request.deadline_ms());
  options.directory_name = request.directory_name();
  options.hooks = !request.no_hooks();
  options.leave_out.insert(request.leave_out().begin(), request.leave_out().end());
  if (request.hooks_wait_ms() != 0) options.hooks_wait = absl::Milliseconds(request.hooks_wait_ms());
  options.job_id = request.job_id();
  options.authorize = [this](pid_t pid) { return authorize(client_, pid); };
  std::optional<ChannelSdkThread> sdk_thread;
  if (request.has_sdk_thread()) {
    RETURN_IF_ERROR(set_sdk_thread(request.sdk_thread(), request.helper_fd(), options.pid, sdk_thread, options));
  }
  EventSender events(channel_);
  ASSIGN_OR_RETURN(DumpResult result, dump(options, directory.get(), events));

  protocol::Reply reply;
  reply.set_image(std::move(result.image));
  reply.set_sequence(result.sequence);
  *reply.mutable_statistics() = std::move(result.statistics);
  for (std::string& note : result.notes) reply.add_notes(std::move(note));
  return reply;
}

absl::StatusOr<protocol::Reply> RequestHandler::audit(const protocol::AuditRequest& request) {
  ASSIGN_OR_RETURN(const ClientFileAccess access, ClientFileAccess::assume(client_));
  UniqueFd pidfd;
  DumpOptions options;
  ASSIGN_OR_RETURN(options.pid, target(request.pid(), pidfd));
  options.authorize = [this](pid_t pid) { return authorize(client_, pid); };
  options.leave_out.insert(request.leave_out().begin(), request.leave_out().end());
  std::optional<ChannelSdkThread> sdk_thread;
  if (request.has_sdk_thread()) {
    RETURN_IF_ERROR(set_sdk_thread(request.sdk_thread(), /*helper_fd=*/0, options.pid, sdk_thread, options));
  }
  ASSIGN_OR_RETURN(const Findings findings, stillpoint::audit(options));
  // An audit that found something succeeded: the findings are its result.
  protocol::Reply reply = reply_of(findings_status(findings));
  reply.set_code(0);
  return reply;
}

absl::StatusOr<protocol::Reply> RequestHandler::restart(const protocol::RestartRequest& request,
                                                        const ReceivedPacket& message, std::vector<UniqueFd>& fds) {
  if (mode_ == ServerMode::kService) {
    return absl::UnimplementedError(
        "a service does not restart programs: they would be its children, with its rights behind them. `stillpoint "
        "restart` starts "
        "a helper of its own");
  }
  ASSIGN_OR_RETURN(const UniqueFd directory, directory_of(message));
  RestoreOptions options;
  options.image_name = request.image_name();
  options.embed = !request.no_embed();
  options.new_namespace = request.new_namespace();
  for (const protocol::PathMapping& mapping : request.map_paths())
    options.map_paths.emplace_back(mapping.from(), mapping.to());
  ASSIGN_OR_RETURN(RestoreResult result, restore(options, directory.get(), /*as_sibling=*/true));

  protocol::Reply reply;
  reply.set_pid(result.pid);
  reply.set_inner_pid(result.inner_pid);
  reply.set_own_namespace(result.own_namespace);
  reply.set_child_pid(result.child_pid);
  for (std::string& note : result.notes) reply.add_notes(std::move(note));
  fds.push_back(std::move(result.pidfd));
  if (result.own_namespace) fds.push_back(std::move(result.status_pipe));
  return reply;
}

absl::StatusOr<protocol::Reply> RequestHandler::check(const protocol::CheckRequest& request) {
  const std::vector<Capability> capabilities = check_machine();
  protocol::Reply reply;
  reply.set_check_text(request.json() ? check_json(capabilities) : check_text(capabilities));
  reply.set_restart_possible(restart_obstacles(capabilities).empty());
  return reply;
}

absl::StatusOr<protocol::Reply> handle(const Channel& channel, const ReceivedPacket& message, ServerMode mode,
                                       std::vector<UniqueFd>& fds) {
  if (!message.packet.has_request()) return absl::InvalidArgumentError("the message is no request");
  const protocol::Request& request = message.packet.request();
  if (request.version() != protocol::kProtocolVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the client speaks version ", request.version(), " of the protocol, this helper version ",
                     protocol::kProtocolVersion, ": SDK, tools and helper must be of one installation"));
  }
  ASSIGN_OR_RETURN(const Client client, authenticate(channel, message));
  RequestHandler handler(channel, client, mode);
  switch (request.request_case()) {
    case protocol::Request::kCheckpoint:
      return handler.checkpoint(request.checkpoint(), message);
    case protocol::Request::kAudit:
      return handler.audit(request.audit());
    case protocol::Request::kRestart:
      return handler.restart(request.restart(), message, fds);
    case protocol::Request::kCheck:
      return handler.check(request.check());
    case protocol::Request::REQUEST_NOT_SET:
      break;
  }
  return absl::UnimplementedError("the request is none that this helper knows");
}

}  // namespace

absl::Status serve(UniqueFd socket, const ServerOptions& options) {
  ASSIGN_OR_RETURN(const Channel channel, Channel::over(std::move(socket)));
  absl::StatusOr<ReceivedPacket> message = channel.receive(absl::Now() + options.request_limit);
  if (!message.ok() && absl::IsUnavailable(message.status())) return message.status();
  std::vector<UniqueFd> fds;
  absl::StatusOr<protocol::Reply> reply =
      message.ok() ? handle(channel, *message, options.mode, fds) : absl::StatusOr<protocol::Reply>(message.status());
  std::vector<int> raw_fds;
  if (reply.ok()) {
    for (const UniqueFd& fd : fds) raw_fds.push_back(fd.get());
  }
  return channel.send(packet_of(reply.ok() ? *std::move(reply) : reply_of(reply.status())), raw_fds);
}

void refuse(UniqueFd socket, const absl::Status& status) {
  const absl::StatusOr<Channel> channel = Channel::over(std::move(socket));
  if (channel.ok()) (void)channel->send_if_room(packet_of(reply_of(status)));
}

}  // namespace stillpoint
