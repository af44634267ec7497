#include "helper/dump/member_round.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "helper/anchor/fields.h"
#include "helper/anchor/find.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/protocol/anchor.h"
#include "helper/resources/printable.h"

namespace stillpoint {
namespace {

using protocol::TreeRound;

constexpr absl::Duration kLook = absl::Milliseconds(2), kBeat = absl::Milliseconds(200);
constexpr uint64_t kMostExcluded = 1 << 20;

bool has_ended(const UniqueFd& pidfd) {
  pollfd event = {pidfd.get(), POLLIN, 0};
  return ::poll(&event, 1, 0) > 0;
}

uint32_t own_pid_namespace() {
  struct stat info = {};
  return ::stat("/proc/self/ns/pid", &info) == 0 ? static_cast<uint32_t>(info.st_ino) : 0;
}

}  // namespace

MemberRound::MemberRound(Options options, pid_t caller) : options_(std::move(options)) { looked_at_.insert(caller); }

absl::Status MemberRound::gather() {
  for (;;) {
    RETURN_IF_ERROR(ask_new_ones());
    bool all = true;
    for (auto it = participants_.begin(); it != participants_.end();) {
      if (has_ended(it->second.pidfd)) {
        it = participants_.erase(it);
        continue;
      }
      const absl::StatusOr<bool> joined = has_joined(it->first, it->second);
      RETURN_IF_ERROR(joined.status());
      all = all && *joined;
      ++it;
    }
    if (all) return absl::OkStatus();
    if (absl::Now() >= options_.deadline) return too_late();
    beat();
    absl::SleepFor(kLook);
  }
}

absl::Status MemberRound::ask_new_ones() {
  for (const pid_t pid : list_tree(options_.root, options_.left_out)) {
    if (!looked_at_.insert(pid).second) continue;
    // One that may not be looked into is one that may not be frozen: the freeze says so, better.
    const absl::StatusOr<std::optional<FoundAnchor>> anchor = find_anchor(pid);
    if (!anchor.ok() || !anchor->has_value() || (*anchor)->calls == 0) continue;
    if (options_.authorize) RETURN_IF_ERROR(options_.authorize(pid));
    if (const absl::Status asked = ask(pid, (*anchor)->address); !asked.ok()) {
      participants_.erase(pid);
      if (!absl::IsNotFound(asked)) return with_context(asked, absl::StrCat("round of hooks, pid ", pid));
    }
  }
  return absl::OkStatus();
}

absl::Status MemberRound::ask(pid_t pid, uint64_t anchor) {
  Participant& participant = participants_[pid];
  participant.pidfd.reset(sys_pidfd_open(pid, 0));
  if (!participant.pidfd.valid()) return errno_status(errno, absl::StrCat("pidfd_open of pid ", pid));
  const uint64_t round = participant.round = anchor + offsetof(protocol::Anchor, round);
  for (const size_t offset : {offsetof(TreeRound, asked), offsetof(TreeRound, joined), offsetof(TreeRound, resumed),
                              offsetof(TreeRound, done)}) {
    ASSIGN_OR_RETURN(const uint64_t number, read_field<uint64_t>(pid, round + offset));
    participant.number = std::max(participant.number, number + 1);
  }
  RETURN_IF_ERROR(write_field(pid, round + offsetof(TreeRound, asked_helper_pid), static_cast<int32_t>(::getpid())));
  RETURN_IF_ERROR(write_field(pid, round + offsetof(TreeRound, asked_helper_pid_ns), own_pid_namespace()));
  RETURN_IF_ERROR(write_text_field(pid, round + offsetof(TreeRound, asked_directory),
                                   sizeof(TreeRound::asked_directory), options_.directory));
  return write_field(pid, round + offsetof(TreeRound, asked), participant.number);
}

absl::StatusOr<bool> MemberRound::has_joined(pid_t pid, Participant& participant) const {
  if (participant.joined) return true;
  const uint64_t round = participant.round;
  ASSIGN_OR_RETURN(const uint64_t joined, read_field<uint64_t>(pid, round + offsetof(TreeRound, joined)));
  if (joined != participant.number) return false;
  ASSIGN_OR_RETURN(const int32_t code, read_field<int32_t>(pid, round + offsetof(TreeRound, joined_code)));
  participant.joined = true;
  if (code == 0) return true;
  ASSIGN_OR_RETURN(const std::string message, read_text_field(pid, round + offsetof(TreeRound, joined_message),
                                                              sizeof(TreeRound::joined_message)));
  return absl::AbortedError(absl::StrCat("pid ", pid, ": ", printable(message)));
}

absl::Status MemberRound::too_late() const {
  std::vector<pid_t> late;
  for (const auto& [pid, participant] : participants_) {
    if (!participant.joined) late.push_back(pid);
  }
  return absl::DeadlineExceededError(
      absl::StrCat("pid ", absl::StrJoin(late, ", pid "), " below pid ", options_.root,
                   " reached no checkpoint() or poll() in time, so that no hooks of theirs could run; wait longer with "
                   "--wait, or bypass all hooks with --no-hooks"));
}

bool MemberRound::waits(pid_t pid, const Participant& participant) const {
  const auto is = [&](size_t offset, auto condition) {
    const absl::StatusOr<uint64_t> value = read_field<uint64_t>(pid, participant.round + offset);
    return value.ok() && condition(*value);
  };
  return is(offsetof(TreeRound, joined), [&](uint64_t n) { return n == participant.number; }) &&
         is(offsetof(TreeRound, done), [&](uint64_t n) { return n < participant.number; });
}

bool MemberRound::is_whole(const FrozenTree& frozen) {
  bool whole = true;
  std::map<pid_t, Participant> there;
  for (const FrozenTree::Node& node : frozen.nodes()) {
    if (node.zombie) continue;
    if (const auto known = participants_.find(node.pid); known != participants_.end()) {
      if (!waits(node.pid, known->second)) {
        whole = false;
        looked_at_.erase(node.pid);  // it has executed another program, or given up: it is asked anew
      } else {
        there.insert(participants_.extract(known));
      }
      continue;
    }
    if (looked_at_.contains(node.pid)) continue;
    const absl::StatusOr<std::optional<FoundAnchor>> anchor = find_anchor(node.pid);
    if (anchor.ok() && anchor->has_value() && (*anchor)->calls > 0) {
      whole = false;
    } else {
      looked_at_.insert(node.pid);
    }
  }
  participants_ = std::move(there);
  return whole;
}

uint64_t MemberRound::restored_info_of(pid_t pid) const {
  const auto known = participants_.find(pid);
  return known == participants_.end() ? 0 : known->second.round + offsetof(TreeRound, restored);
}

absl::StatusOr<std::vector<Range>> MemberRound::excluded_of(pid_t pid) const {
  std::vector<Range> ranges;
  const auto known = participants_.find(pid);
  if (known == participants_.end()) return ranges;
  const uint64_t round = known->second.round;
  ASSIGN_OR_RETURN(const uint64_t at, read_field<uint64_t>(pid, round + offsetof(TreeRound, joined_excluded)));
  ASSIGN_OR_RETURN(const uint64_t count, read_field<uint64_t>(pid, round + offsetof(TreeRound, joined_excluded_count)));
  if (count > kMostExcluded) {
    return absl::ResourceExhaustedError(
        absl::StrCat("pid ", pid, " excludes ", count, " ranges of memory; exclude fewer, larger ones"));
  }
  std::vector<uint64_t> pairs(2 * count);
  if (count > 0) RETURN_IF_ERROR(read_memory(pid, at, pairs.data(), pairs.size() * sizeof(uint64_t)));
  for (uint64_t i = 0; i < count; ++i) ranges.push_back({pairs[2 * i], pairs[2 * i] + pairs[2 * i + 1]});
  return ranges;
}

void MemberRound::beat() {
  if (participants_.empty() || absl::Now() < last_beat_ + kBeat) return;
  last_beat_ = absl::Now();
  ++beats_;
  for (const auto& [pid, participant] : participants_) {
    write_field(pid, participant.round + offsetof(TreeRound, beat), beats_).IgnoreError();  // it may have ended
  }
}

void MemberRound::resumed() {
  for (const auto& [pid, participant] : participants_) {
    write_field(pid, participant.round + offsetof(TreeRound, resumed), participant.number).IgnoreError();
  }
}

void MemberRound::end(const absl::Status& status, absl::string_view image, uint64_t sequence) {
  for (const auto& [pid, participant] : participants_) {
    const uint64_t round = participant.round;
    if (has_ended(participant.pidfd)) continue;
    absl::Status told = write_field(pid, round + offsetof(TreeRound, done_code), static_cast<int32_t>(status.code()));
    told.Update(write_field(pid, round + offsetof(TreeRound, done_sequence), sequence));
    told.Update(write_text_field(pid, round + offsetof(TreeRound, done_image), sizeof(TreeRound::done_image),
                                 std::string(image)));
    told.Update(write_text_field(pid, round + offsetof(TreeRound, done_message), sizeof(TreeRound::done_message),
                                 std::string(status.message())));
    told.Update(write_field(pid, round + offsetof(TreeRound, done), participant.number));
    told.IgnoreError();  // it has ended since, or notices that nobody answers
  }
  participants_.clear();
}

}  // namespace stillpoint
