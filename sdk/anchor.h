// A tool's request for a checkpoint, as it stands in this process's memory (helper/protocol/anchor.h).
#ifndef STILLPOINT_SDK_ANCHOR_H_
#define STILLPOINT_SDK_ANCHOR_H_

#include <stillpoint/status.h>

#include <cstdint>
#include <string>
#include <vector>

#include "helper/protocol/anchor.h"

extern "C" __attribute__((visibility("hidden"))) stillpoint::protocol::Anchor stillpoint_anchor_object;

namespace stillpoint::sdk {

struct AnchorRequest {
  uint64_t sequence = 0;  // 0: there is none
  bool stop = false;
  std::string directory;
  std::vector<int32_t> leave_out;
};

// Cheap enough for inner loops: two loads.
inline bool anchor_request_pending() {
  return __atomic_load_n(&stillpoint_anchor_object.request_sequence, __ATOMIC_ACQUIRE) >
         __atomic_load_n(&stillpoint_anchor_object.done_sequence, __ATOMIC_RELAXED);
}

// From now on a child of fork(3) begins with an anchor that nobody has asked anything of. False: not this time.
bool anchor_forget_in_children();

// Shows tools that the program comes by. Calls of several threads at once may count once.
inline void anchor_count_call() {
  uint64_t& calls = stillpoint_anchor_object.calls;
  const uint64_t before = __atomic_load_n(&calls, __ATOMIC_RELAXED);
  if (before == 0 && !anchor_forget_in_children()) return;
  __atomic_store_n(&calls, before + 1, __ATOMIC_RELAXED);
}

// The pending request, if there is one.
AnchorRequest anchor_request();
// Answers it. Text is cut to what fits; of the findings only whole ones stay.
void anchor_answer(uint64_t sequence, int32_t code, const std::string& image, const std::string& message,
                   const std::vector<Finding>& findings);

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_ANCHOR_H_
