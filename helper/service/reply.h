// Replies, made fit to be sent.
#ifndef STILLPOINT_HELPER_SERVICE_REPLY_H_
#define STILLPOINT_HELPER_SERVICE_REPLY_H_

#include "absl/status/status.h"
#include "helper/protocol/protocol.pb.h"

namespace stillpoint {

// Code, message and findings of an error.
protocol::Reply reply_of(const absl::Status& status);

// The packet with this reply: its text is UTF-8, and it is no larger than a packet may be. Notes and findings that have
// no room are left out, and the message says how many.
protocol::Packet packet_of(protocol::Reply reply);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_SERVICE_REPLY_H_
