#include "tools/program_anchor.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "helper/anchor/fields.h"
#include "helper/anchor/find.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/unique_fd.h"
#include "helper/protocol/anchor.h"
#include "tools/console.h"

namespace stillpoint::tools {
namespace {

using protocol::Anchor;

constexpr absl::Duration kPollInterval = absl::Milliseconds(20);

#define STILLPOINT_ANCHOR_TEXT(pid, anchor, field) \
  read_text_field(pid, (anchor) + offsetof(Anchor, field), sizeof(Anchor::field))

// The program's word: whatever it wrote there is text to us.
absl::StatusOr<protocol::FindingList> read_findings(pid_t pid, uint64_t anchor) {
  std::string text(sizeof(Anchor::done_findings), '\0');
  RETURN_IF_ERROR(read_memory(pid, anchor + offsetof(Anchor, done_findings), text.data(), text.size()));
  const std::vector<std::string> parts = absl::StrSplit(text, '\0');
  protocol::FindingList findings;
  for (size_t i = 0; i + 4 < parts.size() && !parts[i].empty(); i += 4) {
    protocol::Finding& finding = *findings.add_findings();
    finding.set_code(parts[i]);
    finding.set_object(parts[i + 1]);
    finding.set_reason(parts[i + 2]);
    finding.set_remedy(parts[i + 3]);
  }
  return findings;
}

absl::StatusOr<AnchorAnswer> read_answer(pid_t pid, uint64_t anchor) {
  ASSIGN_OR_RETURN(const int32_t code, read_field<int32_t>(pid, anchor + offsetof(Anchor, done_code)));
  ASSIGN_OR_RETURN(const std::string message, STILLPOINT_ANCHOR_TEXT(pid, anchor, done_message));
  if (code != 0) {
    ASSIGN_OR_RETURN(const protocol::FindingList findings, read_findings(pid, anchor));
    return with_findings(absl::FailedPreconditionError(absl::StrCat("checkpoint in pid ", pid, ": ", message)),
                         findings);
  }
  ASSIGN_OR_RETURN(std::string image, STILLPOINT_ANCHOR_TEXT(pid, anchor, done_image));
  return AnchorAnswer{std::move(image)};
}

absl::StatusOr<uint64_t> write_request(pid_t pid, uint64_t anchor, const AnchorRequest& request) {
  char directory[sizeof(Anchor::request_directory)] = {};
  if (request.directory.size() >= sizeof directory) {
    return absl::InvalidArgumentError(absl::StrCat("the path ", request.directory, " is longer than a program that ",
                                                   "links the SDK can be told (", sizeof directory - 1, " bytes)"));
  }
  request.directory.copy(directory, sizeof directory - 1);
  int32_t leave_out[std::size(Anchor{}.request_leave_out)] = {};
  if (request.leave_out.size() > std::size(leave_out)) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", std::size(leave_out), " processes to leave out"));
  }
  std::copy(request.leave_out.begin(), request.leave_out.end(), leave_out);
  ASSIGN_OR_RETURN(const uint64_t asked, read_field<uint64_t>(pid, anchor + offsetof(Anchor, request_sequence)));
  ASSIGN_OR_RETURN(const uint64_t done, read_field<uint64_t>(pid, anchor + offsetof(Anchor, done_sequence)));
  const uint64_t sequence = std::max(asked, done) + 1;
  const uint32_t stop = request.stop ? 1 : 0;
  RETURN_IF_ERROR(write_memory(pid, anchor + offsetof(Anchor, request_directory), directory, sizeof directory));
  RETURN_IF_ERROR(write_memory(pid, anchor + offsetof(Anchor, request_leave_out), leave_out, sizeof leave_out));
  RETURN_IF_ERROR(write_memory(pid, anchor + offsetof(Anchor, request_stop), &stop, sizeof stop));
  RETURN_IF_ERROR(write_memory(pid, anchor + offsetof(Anchor, request_sequence), &sequence, sizeof sequence));
  return sequence;
}

// The program must not be checkpointed, let alone stopped, hours later for somebody who stopped waiting.
void withdraw(pid_t pid, uint64_t anchor, uint64_t sequence) {
  const absl::StatusOr<uint64_t> asked = read_field<uint64_t>(pid, anchor + offsetof(Anchor, request_sequence));
  const absl::StatusOr<uint64_t> done = read_field<uint64_t>(pid, anchor + offsetof(Anchor, done_sequence));
  if (!asked.ok() || !done.ok() || *asked != sequence) return;
  (void)write_memory(pid, anchor + offsetof(Anchor, request_sequence), &*done, sizeof *done);
}

}  // namespace

absl::StatusOr<std::optional<uint64_t>> anchor_of(pid_t pid) {
  const absl::StatusOr<std::optional<FoundAnchor>> anchor = find_anchor(pid);
  if (absl::IsPermissionDenied(anchor.status())) {
    return absl::PermissionDeniedError(
        absl::StrCat("cannot see whether pid ", pid, " links the SDK: ", anchor.status().message(),
                     "; run as its user or root, allow it under Yama (kernel.yama.ptrace_scope), or pass --no-hooks"));
  }
  RETURN_IF_ERROR(anchor.status());
  if (!anchor->has_value()) return std::nullopt;
  return (*anchor)->address;
}

absl::StatusOr<AnchorAnswer> request_through_anchor(pid_t pid, uint64_t anchor, const AnchorRequest& request) {
  const UniqueFd pidfd(sys_pidfd_open(pid, 0));
  if (!pidfd.valid()) return errno_status(errno, absl::StrCat("pidfd_open of pid ", pid));
  ASSIGN_OR_RETURN(const uint64_t calls_before, read_field<uint64_t>(pid, anchor + offsetof(Anchor, calls)));
  ASSIGN_OR_RETURN(const uint64_t sequence, write_request(pid, anchor, request));
  const absl::Time deadline = absl::Now() + request.wait;
  for (;;) {
    pollfd ended = {pidfd.get(), POLLIN, 0};
    const int ready = ::poll(&ended, 1, static_cast<int>(absl::ToInt64Milliseconds(kPollInterval)));
    if (ready < 0 && errno != EINTR) return errno_status(errno, absl::StrCat("poll on the pidfd of pid ", pid));
    const absl::StatusOr<uint64_t> done = read_field<uint64_t>(pid, anchor + offsetof(Anchor, done_sequence));
    if (done.ok() && *done >= sequence) return read_answer(pid, anchor);
    if (ready > 0) return absl::NotFoundError(absl::StrCat("pid ", pid, " ended before it answered"));
    if (!done.ok()) return with_context(done.status(), absl::StrCat("answer of pid ", pid));
    if (absl::Now() < deadline) continue;
    const absl::StatusOr<uint64_t> calls = read_field<uint64_t>(pid, anchor + offsetof(Anchor, calls));
    withdraw(pid, anchor, sequence);
    const bool calls_on = calls.ok() && *calls != calls_before;
    return absl::DeadlineExceededError(absl::StrCat(
        "pid ", pid,
        calls_on ? " is in its checkpoint, which took longer than " : " reached no checkpoint() or poll() within ",
        absl::FormatDuration(request.wait), "; wait longer with --wait, or bypass its hooks with --no-hooks"));
  }
}

}  // namespace stillpoint::tools
