#include "sdk/anchor.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace stillpoint::sdk {
namespace {

using protocol::Anchor;

// What anchor_object.S says in numbers.
static_assert(sizeof(Anchor) == 16664);
static_assert(protocol::kAnchorMagic == 0x524f48434e415053);
static_assert(protocol::kAnchorVersion == 1 && protocol::kAnchorNoteType == 1);

template <size_t kSize>
void put_text(char (&field)[kSize], const std::string& text) {
  const size_t length = std::min(text.size(), kSize - 1);
  std::memcpy(field, text.data(), length);
  field[length] = '\0';
}

template <size_t kSize>
void put_findings(char (&field)[kSize], const std::vector<Finding>& findings) {
  std::memset(field, 0, kSize);
  size_t used = 0;
  for (const Finding& finding : findings) {
    std::string text;
    for (const std::string* part : {&finding.code, &finding.object, &finding.reason, &finding.remedy}) {
      text.append(part->c_str()).push_back('\0');
    }
    if (used + text.size() >= kSize) return;  // the last byte stays: it ends the list
    std::memcpy(field + used, text.data(), text.size());
    used += text.size();
  }
}

// What was asked of the parent is the parent's to answer, and the thread that was to do it is not here.
void forget() {
  Anchor& anchor = stillpoint_anchor_object;
  anchor.calls = 0;
  anchor.request_sequence = anchor.done_sequence;
  anchor.round.asked = anchor.round.joined = anchor.round.resumed = anchor.round.done;
}

}  // namespace

bool anchor_forget_in_children() {
  static constinit std::atomic<bool> registered = false;
  if (registered.exchange(true)) return true;
  if (::pthread_atfork(nullptr, nullptr, &forget) == 0) return true;
  registered = false;
  return false;
}

AnchorRequest anchor_request() {
  const Anchor& anchor = stillpoint_anchor_object;
  AnchorRequest request;
  if (!anchor_request_pending()) return request;
  request.sequence = __atomic_load_n(&anchor.request_sequence, __ATOMIC_ACQUIRE);
  request.stop = anchor.request_stop != 0;
  request.directory.assign(anchor.request_directory,
                           ::strnlen(anchor.request_directory, sizeof anchor.request_directory));
  for (const int32_t pid : anchor.request_leave_out) {
    if (pid == 0) break;
    request.leave_out.push_back(pid);
  }
  return request;
}

void anchor_answer(uint64_t sequence, int32_t code, const std::string& image, const std::string& message,
                   const std::vector<Finding>& findings) {
  Anchor& anchor = stillpoint_anchor_object;
  anchor.done_code = code;
  put_text(anchor.done_image, image);
  put_text(anchor.done_message, message);
  put_findings(anchor.done_findings, findings);
  __atomic_store_n(&anchor.done_sequence, sequence, __ATOMIC_RELEASE);
}

}  // namespace stillpoint::sdk
