#include "sdk/messages.h"

#include "helper/protocol/context.h"
#include "helper/protocol/utf8.h"

namespace stillpoint::sdk {
namespace {

using protocol::wire::Field;
using protocol::wire::Reader;
using protocol::wire::Type;
using protocol::wire::Writer;

// Field numbers of protocol.proto; tests/sdk compares each message with protobuf's own reading of it.
namespace packet {
constexpr uint32_t kRequest = 1, kEvent = 2, kReply = 3, kInCall = 4, kInCallResult = 5;
}
namespace request {
constexpr uint32_t kVersion = 1, kCheckpoint = 2;
}
namespace checkpoint {
constexpr uint32_t kStop = 2, kKeepLast = 3, kNoEmbed = 4, kExcluded = 5, kSdkThread = 6, kDeadlineMs = 7,
                   kDirectoryName = 8, kJobId = 9, kHelperFd = 10, kLeaveOut = 14;
}
namespace range {
constexpr uint32_t kStart = 1, kLength = 2;
}
namespace thread_fields {
constexpr uint32_t kTid = 1, kScratch = 2, kScratchSize = 3, kContext = 4, kSignalMask = 5, kOwnFds = 7;
}
namespace event {
constexpr uint32_t kResumed = 1;
}
namespace in_call {
constexpr uint32_t kNumber = 1, kArguments = 2, kForkSnapshot = 3;
}
namespace in_call_result {
constexpr uint32_t kResult = 1;
}
namespace reply_fields {
constexpr uint32_t kCode = 1, kMessage = 2, kFindings = 3, kImage = 4, kSequence = 5, kStatistics = 6, kNotes = 7;
}
namespace statistics {
constexpr uint32_t kPause = 1, kFreeze = 2, kSnapshot = 3, kWrite = 4, kTotal = 5, kPages = 6, kBytes = 7,
                   kImageBytes = 8, kMethod = 9, kMethodReason = 10;
}
namespace finding_list {
constexpr uint32_t kFindings = 1;
}
namespace finding_fields {
constexpr uint32_t kCode = 1, kObject = 2, kReason = 3, kRemedy = 4;
}

void write_text(Writer& writer, uint32_t field, std::string text) {
  protocol::replace_invalid_utf8(text.data(), text.size());
  writer.bytes(field, text.data(), text.size());
}

void write_thread(Writer& writer, const SdkThreadFields& thread) {
  const size_t mark = writer.open(checkpoint::kSdkThread);
  writer.signed_number(thread_fields::kTid, thread.tid);
  writer.number(thread_fields::kScratch, thread.scratch);
  writer.number(thread_fields::kScratchSize, thread.scratch_size);
  writer.number(thread_fields::kContext, thread.context);
  writer.number(thread_fields::kSignalMask, thread.signal_mask);
  if (thread.own_fd_count > 0) {
    const size_t fds = writer.open(thread_fields::kOwnFds);
    for (size_t i = 0; i < thread.own_fd_count; ++i) writer.packed(thread.own_fds[i]);
    writer.close(fds);
  }
  writer.close(mark);
}

bool read_in_call(const Field& message, Incoming& incoming) {
  size_t count = 0;
  const auto add = [&](uint64_t value) {
    if (count == protocol::kMaxInCallArguments) return false;
    incoming.arguments[count++] = value;
    return true;
  };
  Reader reader(message);
  for (Field field; reader.next(field);) {
    if (field.number == in_call::kNumber && field.type == Type::kVarint) {
      incoming.number = static_cast<int64_t>(field.value);
    } else if (field.number == in_call::kForkSnapshot && field.type == Type::kVarint) {
      incoming.fork_snapshot = field.value != 0;
    } else if (field.number == in_call::kArguments && field.type == Type::kVarint) {
      if (!add(field.value)) return false;
    } else if (field.number == in_call::kArguments && field.type == Type::kBytes) {
      Reader values(field);
      for (uint64_t value = 0; values.next_packed(value);) {
        if (!add(value)) return false;
      }
      if (values.failed()) return false;
    }
  }
  return !reader.failed();
}

bool read_event(const Field& message, Incoming& incoming) {
  Reader reader(message);
  for (Field field; reader.next(field);) {
    if (field.number == event::kResumed && field.type == Type::kVarint) incoming.resumed = field.value != 0;
  }
  return !reader.failed();
}

std::string text_of(const Field& field) { return std::string(reinterpret_cast<const char*>(field.data), field.size); }

bool read_finding(const Field& message, Finding& finding) {
  Reader reader(message);
  for (Field field; reader.next(field);) {
    if (field.type != Type::kBytes) continue;
    if (field.number == finding_fields::kCode) finding.code = text_of(field);
    if (field.number == finding_fields::kObject) finding.object = text_of(field);
    if (field.number == finding_fields::kReason) finding.reason = text_of(field);
    if (field.number == finding_fields::kRemedy) finding.remedy = text_of(field);
  }
  return !reader.failed();
}

bool read_findings(const Field& message, std::vector<Finding>& findings) {
  Reader reader(message);
  for (Field field; reader.next(field);) {
    if (field.number != finding_list::kFindings || field.type != Type::kBytes) continue;
    findings.emplace_back();
    if (!read_finding(field, findings.back())) return false;
  }
  return !reader.failed();
}

void read_statistic(const Field& field, ReplyContent& reply) {
  if (field.type == Type::kBytes) {
    if (field.number == statistics::kMethod) reply.method = text_of(field);
    if (field.number == statistics::kMethodReason) reply.method_reason = text_of(field);
    return;
  }
  switch (field.number) {
    case statistics::kPause:
      reply.pause_ns = field.value;
      break;
    case statistics::kFreeze:
      reply.freeze_ns = field.value;
      break;
    case statistics::kSnapshot:
      reply.snapshot_ns = field.value;
      break;
    case statistics::kWrite:
      reply.write_ns = field.value;
      break;
    case statistics::kTotal:
      reply.total_ns = field.value;
      break;
    case statistics::kPages:
      reply.pages = field.value;
      break;
    case statistics::kBytes:
      reply.bytes = field.value;
      break;
    case statistics::kImageBytes:
      reply.image_bytes = field.value;
      break;
    default:
      break;
  }
}

bool read_statistics(const Field& message, ReplyContent& reply) {
  Reader reader(message);
  for (Field field; reader.next(field);) read_statistic(field, reply);
  return !reader.failed();
}

}  // namespace

void write_checkpoint_request(Writer& writer, const Settings& settings, const std::vector<MemoryRange>& excluded,
                              const SdkThreadFields& thread, int helper_fd) {
  const size_t packet_mark = writer.open(packet::kRequest);
  writer.number(request::kVersion, protocol::kProtocolVersion);
  const size_t mark = writer.open(request::kCheckpoint);
  writer.number(checkpoint::kStop, settings.stop);
  writer.number(checkpoint::kKeepLast, settings.keep_last);
  writer.number(checkpoint::kNoEmbed, settings.no_embed);
  for (const MemoryRange& excluded_range : excluded) {
    const size_t range_mark = writer.open(checkpoint::kExcluded);
    writer.number(range::kStart, excluded_range.start);
    writer.number(range::kLength, excluded_range.length);
    writer.close(range_mark);
  }
  write_thread(writer, thread);
  writer.number(checkpoint::kDeadlineMs, settings.freeze_limit_ms);
  write_text(writer, checkpoint::kDirectoryName, settings.directory);
  write_text(writer, checkpoint::kJobId, settings.job_id);
  writer.signed_number(checkpoint::kHelperFd, helper_fd);
  for (const int32_t pid : settings.leave_out) writer.signed_number(checkpoint::kLeaveOut, pid);
  writer.close(mark);
  writer.close(packet_mark);
}

void write_in_call_result(Writer& writer, int64_t result) {
  const size_t mark = writer.open(packet::kInCallResult);
  writer.signed_number(in_call_result::kResult, result);
  writer.close(mark);
}

bool read_packet(const void* data, size_t size, Incoming& incoming) {
  incoming = Incoming{};
  Reader reader(data, size);
  for (Field field; reader.next(field);) {
    if (field.type != Type::kBytes) continue;
    switch (field.number) {
      case packet::kEvent:
        incoming.kind = Incoming::Kind::kEvent;
        if (!read_event(field, incoming)) return false;
        break;
      case packet::kReply:
        incoming.kind = Incoming::Kind::kReply;
        incoming.reply = field.data;
        incoming.reply_size = field.size;
        break;
      case packet::kInCall:
        incoming.kind = Incoming::Kind::kInCall;
        if (!read_in_call(field, incoming)) return false;
        break;
      default:
        break;
    }
  }
  return !reader.failed() && incoming.kind != Incoming::Kind::kNone;
}

Status status_of(int32_t code, const std::string& message) {
  if (code == STILLPOINT_OK) return Status();
  const bool known = code > 0 && code <= STILLPOINT_UNAUTHENTICATED;
  return Status(known ? static_cast<Code>(code) : Code::kUnknown, message);
}

bool read_reply(const uint8_t* data, size_t size, ReplyContent& reply) {
  Reader reader(data, size);
  for (Field field; reader.next(field);) {
    if (field.type == Type::kVarint) {
      if (field.number == reply_fields::kCode) reply.code = static_cast<int32_t>(field.value);
      if (field.number == reply_fields::kSequence) reply.sequence = field.value;
    } else if (field.type == Type::kBytes) {
      if (field.number == reply_fields::kMessage) reply.message = text_of(field);
      if (field.number == reply_fields::kImage) reply.image = text_of(field);
      if (field.number == reply_fields::kNotes) reply.notes.push_back(text_of(field));
      if (field.number == reply_fields::kFindings && !read_findings(field, reply.findings)) return false;
      if (field.number == reply_fields::kStatistics && !read_statistics(field, reply)) return false;
    }
  }
  return !reader.failed();
}

}  // namespace stillpoint::sdk
