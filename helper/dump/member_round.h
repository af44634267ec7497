// The hooks of a tree: every member that links the SDK runs its own, in one round (TreeRound in
// helper/protocol/anchor.h). All pre-dump hooks succeed, or what they did is taken back everywhere.
#ifndef STILLPOINT_HELPER_DUMP_MEMBER_ROUND_H_
#define STILLPOINT_HELPER_DUMP_MEMBER_ROUND_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "helper/base/unique_fd.h"
#include "helper/memory/range.h"
#include "helper/tracee/frozen_tree.h"

namespace stillpoint {

class MemberRound {
 public:
  struct Options {
    pid_t root = 0;
    std::set<pid_t> left_out;  // and all below them; the process that asked for the checkpoint runs its hooks by itself
    std::string directory;     // as the members' results are to name it
    absl::Time deadline;
    std::function<absl::Status(pid_t)> authorize;  // null: no question
  };

  explicit MemberRound(Options options, pid_t caller);
  MemberRound(const MemberRound&) = delete;
  MemberRound& operator=(const MemberRound&) = delete;
  // Whoever waits still is told of the failure.
  ~MemberRound() { end(failure_, "", 0); }
  void set_failure(absl::Status why) { failure_ = std::move(why); }

  // Asks all members there are and waits until each has run its pre-dump hooks. ABORTED names a hook that failed,
  // DEADLINE_EXCEEDED the members that made no call. May be called again, for members that have come since.
  absl::Status gather();
  // False: somebody has come, or has not kept waiting, since gather().
  bool is_whole(const FrozenTree& frozen);
  // Where a new life of the member looks for its RestoredInfo; 0: it is not part of the round.
  uint64_t restored_info_of(pid_t pid) const;
  // What the member does not want to be saved. Its own word.
  absl::StatusOr<std::vector<Range>> excluded_of(pid_t pid) const;

  // To be called several times a second, except in the pause.
  void beat();
  void resumed();
  void end(const absl::Status& status, absl::string_view image, uint64_t sequence);

 private:
  struct Participant {
    UniqueFd pidfd;
    uint64_t round = 0;   // address of its TreeRound
    uint64_t number = 0;  // of the round, there
    bool joined = false;
  };
  absl::Status ask_new_ones();
  absl::Status ask(pid_t pid, uint64_t anchor);
  absl::StatusOr<bool> has_joined(pid_t pid, Participant& participant) const;
  bool waits(pid_t pid, const Participant& participant) const;
  absl::Status too_late() const;

  const Options options_;
  std::set<pid_t> looked_at_;
  std::map<pid_t, Participant> participants_;
  absl::Status failure_ = absl::AbortedError("there is no checkpoint of the process tree");
  uint64_t beats_ = 0;
  absl::Time last_beat_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_MEMBER_ROUND_H_
