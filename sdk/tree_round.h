// A checkpoint of a process tree that this process is a member of and did not ask for (TreeRound in
// helper/protocol/anchor.h): a helper asks through the anchor, and a thread that comes by takes part.
#ifndef STILLPOINT_SDK_TREE_ROUND_H_
#define STILLPOINT_SDK_TREE_ROUND_H_

#include <stillpoint/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sdk/anchor.h"
#include "sdk/conversation.h"
#include "sdk/excluded_memory.h"

namespace stillpoint::sdk {

// Cheap enough for inner loops.
inline bool tree_round_pending() {
  const protocol::TreeRound& round = stillpoint_anchor_object.round;
  const uint64_t asked = __atomic_load_n(&round.asked, __ATOMIC_ACQUIRE);
  return asked > __atomic_load_n(&round.done, __ATOMIC_RELAXED) &&
         asked > __atomic_load_n(&round.joined, __ATOMIC_RELAXED);
}

// Lives on the heap and in the image. Owned by the thread that takes part.
class JoinedRound {
 public:
  // Null when nobody asks.
  static std::unique_ptr<JoinedRound> begin();
  JoinedRound(const JoinedRound&) = delete;
  JoinedRound& operator=(const JoinedRound&) = delete;

  // Instead of wait(): a hook failed, and the tree is not checkpointed.
  void decline(const std::string& why);
  // Instead of wait(): nothing has to be done here, and nobody is waited for.
  void pass();
  // All signals must be blocked; when the pause is over they are what `signal_mask` says. Returns kReplied, kGone, or,
  // in every new life, kRestored.
  Ending wait(ResumeObserver& observer, std::vector<MemoryRange> excluded, uint64_t signal_mask);

  const std::string& directory() const { return directory_; }
  // kReplied: what came of it, and of the image that it made.
  Status status() const;
  uint64_t sequence() const;
  std::string image() const;  // its name
  const protocol::RestoredInfo& restored_info() const;

 private:
  explicit JoinedRound(uint64_t number);
  void enter(int32_t code, const std::string& message) const;
  bool helper_has_gone();

  const uint64_t number_;
  std::string directory_;
  std::vector<MemoryRange> excluded_;
  bool helper_is_visible_ = false;  // its pid means the same here
  bool resumed_ = false;
  uint64_t beat_ = 0, naps_ = 0;
};

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_TREE_ROUND_H_
