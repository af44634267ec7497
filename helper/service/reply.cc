#include "helper/service/reply.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/dump/dump.h"
#include "helper/protocol/channel.h"
#include "helper/protocol/utf8.h"

namespace stillpoint {
namespace {

constexpr size_t kRoomForEnvelope = 1024;
constexpr size_t kMaxMessage = size_t{16} * 1024;

void make_utf8(std::string* text) { protocol::replace_invalid_utf8(text->data(), text->size()); }

void make_text_utf8(protocol::Reply& reply) {
  make_utf8(reply.mutable_message());
  make_utf8(reply.mutable_image());
  make_utf8(reply.mutable_check_text());
  make_utf8(reply.mutable_statistics()->mutable_method());
  make_utf8(reply.mutable_statistics()->mutable_method_reason());
  for (std::string& note : *reply.mutable_notes()) make_utf8(&note);
  for (protocol::Finding& finding : *reply.mutable_findings()->mutable_findings()) {
    make_utf8(finding.mutable_code());
    make_utf8(finding.mutable_object());
    make_utf8(finding.mutable_reason());
    make_utf8(finding.mutable_remedy());
  }
}

bool too_large(const protocol::Reply& reply) { return reply.ByteSizeLong() > kMaxPacketBytes - kRoomForEnvelope; }

}  // namespace

protocol::Reply reply_of(const absl::Status& status) {
  protocol::Reply reply;
  reply.set_code(static_cast<int>(status.code()));
  reply.set_message(std::string(status.message()));
  for (const Finding& finding : findings_of(status)) {
    protocol::Finding* entry = reply.mutable_findings()->add_findings();
    entry->set_code(finding.code);
    entry->set_object(finding.object);
    entry->set_reason(finding.reason);
    entry->set_remedy(finding.remedy);
  }
  return reply;
}

protocol::Packet packet_of(protocol::Reply reply) {
  if (too_large(reply)) {
    if (reply.message().size() > kMaxMessage) reply.mutable_message()->resize(kMaxMessage);
    int left_out = 0;
    while (too_large(reply) && reply.notes_size() > 0) {
      reply.mutable_notes()->RemoveLast();
      ++left_out;
    }
    while (too_large(reply) && reply.findings().findings_size() > 0) {
      reply.mutable_findings()->mutable_findings()->RemoveLast();
      ++left_out;
    }
    if (too_large(reply)) reply.clear_check_text();
    if (left_out > 0) absl::StrAppend(reply.mutable_message(), " (", left_out, " more do not fit into one message)");
  }
  make_text_utf8(reply);
  protocol::Packet packet;
  *packet.mutable_reply() = std::move(reply);
  return packet;
}

}  // namespace stillpoint
