#include "helper/service/channel_sdk_thread.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/protocol/context.h"
#include "helper/protocol/in_call.h"

namespace stillpoint {
namespace {

// Forking a large address space takes a while (15 ms per GiB); a thread that is silent for this long is stopped or
// gone.
constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr absl::Duration kGlance = absl::Milliseconds(100);

bool has_ended(pid_t pid, pid_t tid) {
  const absl::StatusOr<procfs::Stat> stat = procfs::read_stat(pid, tid);
  return stat.ok() ? stat->state == 'Z' || stat->state == 'X' : absl::IsNotFound(stat.status());
}

}  // namespace

absl::StatusOr<ChannelSdkThread> ChannelSdkThread::from(const protocol::SdkThread& thread, pid_t client,
                                                        uint32_t helper_fd, const Channel& channel) {
  const std::string task = absl::StrCat("/proc/", client, "/task/", thread.tid());
  if (thread.tid() <= 0 || ::access(task.c_str(), F_OK) < 0) {
    return absl::InvalidArgumentError(absl::StrCat("tid ", thread.tid(), " is no thread of pid ", client));
  }
  if (thread.scratch() == 0 || thread.scratch_size() < protocol::kScratchSize || thread.context() == 0) {
    return absl::InvalidArgumentError("the request names no scratch memory or no saved context");
  }
  std::vector<int> own_fds(thread.own_fds().begin(), thread.own_fds().end());
  const int socket = static_cast<int>(helper_fd);
  if (socket != 0 && std::find(own_fds.begin(), own_fds.end(), socket) == own_fds.end()) own_fds.push_back(socket);
  return ChannelSdkThread(thread, client, std::move(own_fds), channel);
}

absl::StatusOr<int64_t> ChannelSdkThread::ask(const protocol::Packet& packet, const std::vector<int>& fds) {
  RETURN_IF_ERROR(with_context(channel_->send(packet, fds), "the application's checkpointing thread"));
  absl::StatusOr<ReceivedPacket> answer = receive_answer();
  if (!answer.ok()) return with_context(answer.status(), "the application's checkpointing thread");
  if (!answer->packet.has_in_call_result()) {
    return absl::InvalidArgumentError("the application's checkpointing thread answered with something else");
  }
  return answer->packet.in_call_result().result();
}

// A thread that is killed right after it has forked the snapshot leaves no EOF: the snapshot holds its socket too.
absl::StatusOr<ReceivedPacket> ChannelSdkThread::receive_answer() const {
  const absl::Time deadline = absl::Now() + kPatience;
  for (;;) {
    absl::StatusOr<ReceivedPacket> answer = channel_->receive(std::min(absl::Now() + kGlance, deadline));
    if (answer.ok() || !absl::IsDeadlineExceeded(answer.status()) || absl::Now() >= deadline) return answer;
    if (has_ended(client_, thread_.tid())) return absl::UnavailableError("it has ended");
  }
}

absl::StatusOr<int64_t> ChannelSdkThread::call(long number, std::initializer_list<uint64_t> arguments) {
  if (arguments.size() > protocol::kMaxInCallArguments) return absl::InvalidArgumentError("more than six arguments");
  protocol::Packet packet;
  packet.mutable_in_call()->set_number(number);
  for (const uint64_t argument : arguments) packet.mutable_in_call()->add_arguments(argument);
  return ask(packet, {});
}

absl::StatusOr<pid_t> ChannelSdkThread::fork_snapshot(UniqueFd control) {
  protocol::Packet packet;
  packet.mutable_in_call()->set_fork_snapshot(true);
  ASSIGN_OR_RETURN(const int64_t result, ask(packet, {control.get()}));
  if (result <= 0 || result > INT32_MAX) {
    return errno_status(result < 0 && result > -4096 ? static_cast<int>(-result) : EPROTO, "forking the snapshot");
  }
  return static_cast<pid_t>(result);
}

}  // namespace stillpoint
