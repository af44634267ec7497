// One checkpoint's conversation with the helper, from the request to the reply, or to a new life.
#ifndef STILLPOINT_SDK_CONVERSATION_H_
#define STILLPOINT_SDK_CONVERSATION_H_

#include <cstddef>
#include <cstdint>

#include "helper/protocol/context.h"
#include "sdk/detached_clone.h"
#include "sdk/messages.h"

namespace stillpoint::sdk {

// Called when the pause is over, with the signal mask that the thread had before.
class ResumeObserver {
 public:
  virtual ~ResumeObserver() = default;
  virtual void resumed() = 0;
};

enum class Ending {
  kReplied,   // reply() holds it
  kRestored,  // a new life: nothing of the old one's fds and helper exists; restored_info() tells
  kGone,      // the helper died
  kBroken,    // it said something that is no message of the protocol
  kUnsent,    // the request could not be sent; error() tells why
};

// What a checkpoint needs while others are frozen, allocated before. Owned by one thread. Lives on the heap and in the
// image.
class Conversation {
 public:
  // Takes over no fd: whoever opened them closes them, in the old life only.
  Conversation(int socket, int directory_fd, int control_slot, uint64_t signal_mask);
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  // False when the request is larger than a packet may be (too many excluded ranges).
  bool prepare(const Settings& settings, const std::vector<MemoryRange>& excluded);

  // All signals must be blocked; after the pause they are unblocked. Returns in the old life, and again in every new
  // one.
  Ending run(ResumeObserver& observer, CloneStacks& stacks);

  const ReplyContent& reply() const { return reply_; }
  const protocol::RestoredInfo& restored_info() const;
  int error() const { return error_; }  // kUnsent
  bool pause_over() const { return pause_over_; }
  bool pause_begun() const { return heard_; }  // the helper has spoken

 private:
  Ending exchange(ResumeObserver& observer, CloneStacks& stacks);
  bool send_request();
  bool send(const void* data, size_t size) const;
  // The size of the packet in packet_; 0 at the end; -1 when it was cut. `fd` is what came beside it, or -1.
  long receive(int& fd);
  bool answer(const Incoming& incoming, int fd, CloneStacks& stacks);
  int64_t snapshot(int fd, CloneStacks& stacks);
  void pause_is_over(ResumeObserver& observer);
  void unblock_signals();

  const int socket_, directory_fd_, control_slot_;
  const uint64_t signal_mask_;
  bool heard_ = false;
  bool pause_over_ = false;
  int error_ = 0;
  size_t request_size_ = 0;
  ReplyContent reply_;
  protocol::SavedContext context_ = {};
  alignas(64) unsigned char scratch_[protocol::kScratchSize] = {};
  unsigned char packet_[kMaxPacketBytes];  // the request, then what the helper says; not initialised: mostly untouched
};

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_CONVERSATION_H_
