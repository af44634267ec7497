// The messages of helper/protocol/protocol.proto that the SDK writes and reads, over wire.h. What is said and heard
// while other threads may be frozen neither allocates nor takes a lock.
#ifndef STILLPOINT_SDK_MESSAGES_H_
#define STILLPOINT_SDK_MESSAGES_H_

#include <stillpoint/status.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "helper/protocol/in_call.h"
#include "helper/protocol/wire.h"
#include "sdk/excluded_memory.h"
#include "sdk/settings.h"

namespace stillpoint::sdk {

inline constexpr size_t kMaxPacketBytes = size_t{128} * 1024;

struct SdkThreadFields {
  int32_t tid = 0;
  uint64_t scratch = 0, scratch_size = 0;
  uint64_t context = 0;
  uint64_t signal_mask = 0;
  const int32_t* own_fds = nullptr;
  size_t own_fd_count = 0;
};

// Packet{request{checkpoint}}. What does not fit leaves the writer not ok().
void write_checkpoint_request(protocol::wire::Writer& writer, const Settings& settings,
                              const std::vector<MemoryRange>& excluded, const SdkThreadFields& thread, int helper_fd);

// Packet{in_call_result}.
void write_in_call_result(protocol::wire::Writer& writer, int64_t result);

// A packet from the helper, in place.
struct Incoming {
  enum class Kind { kNone, kEvent, kReply, kInCall };
  Kind kind = Kind::kNone;
  // kEvent
  bool resumed = false;
  // kInCall
  int64_t number = 0;
  uint64_t arguments[protocol::kMaxInCallArguments] = {};
  bool fork_snapshot = false;
  // kReply: the encoded Reply, inside the packet.
  const uint8_t* reply = nullptr;
  size_t reply_size = 0;
};

// False when the bytes are no packet that the helper may send.
bool read_packet(const void* data, size_t size, Incoming& incoming);

struct ReplyContent {
  int32_t code = 0;
  std::string message;
  std::vector<Finding> findings;
  std::string image;
  uint64_t sequence = 0;
  uint64_t pause_ns = 0, freeze_ns = 0, snapshot_ns = 0, write_ns = 0, total_ns = 0;
  uint64_t pages = 0, bytes = 0, image_bytes = 0;
  std::string method, method_reason;
  std::vector<std::string> notes;
};

// Of a stillpoint_code_t that somebody else wrote.
Status status_of(int32_t code, const std::string& message);

// Allocates: only when all threads run again.
bool read_reply(const uint8_t* data, size_t size, ReplyContent& reply);

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_MESSAGES_H_
