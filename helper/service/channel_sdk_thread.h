// The application's thread at the other end of a Channel.
#ifndef STILLPOINT_HELPER_SERVICE_CHANNEL_SDK_THREAD_H_
#define STILLPOINT_HELPER_SERVICE_CHANNEL_SDK_THREAD_H_

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "helper/dump/sdk_thread.h"
#include "helper/protocol/channel.h"

namespace stillpoint {

class ChannelSdkThread : public SdkThreadConnection {
 public:
  // `client` is the process that sent `thread`; `helper_fd` is its socket if it named it, else 0 (own_fds tells).
  // INVALID_ARGUMENT when what it says of its thread cannot be (the thread is none of its own, no scratch memory).
  // `channel` must outlive the object.
  static absl::StatusOr<ChannelSdkThread> from(const protocol::SdkThread& thread, pid_t client, uint32_t helper_fd,
                                               const Channel& channel);

  pid_t tid() const override { return thread_.tid(); }
  uint64_t scratch() const override { return thread_.scratch(); }
  uint64_t scratch_size() const override { return thread_.scratch_size(); }
  uint64_t context_address() const override { return thread_.context(); }
  uint64_t signal_mask() const override { return thread_.signal_mask(); }
  const std::vector<int>& own_fds() const override { return own_fds_; }
  absl::StatusOr<int64_t> call(long number, std::initializer_list<uint64_t> arguments) override;
  absl::StatusOr<pid_t> fork_snapshot(UniqueFd control) override;

 private:
  ChannelSdkThread(const protocol::SdkThread& thread, pid_t client, std::vector<int> own_fds, const Channel& channel)
      : thread_(thread), client_(client), own_fds_(std::move(own_fds)), channel_(&channel) {}
  absl::StatusOr<int64_t> ask(const protocol::Packet& packet, const std::vector<int>& fds);

  absl::StatusOr<ReceivedPacket> receive_answer() const;

  protocol::SdkThread thread_;
  pid_t client_;
  std::vector<int> own_fds_;
  const Channel* channel_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_SERVICE_CHANNEL_SDK_THREAD_H_
