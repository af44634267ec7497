// checkpoint(), top to bottom: hooks, directory, helper, conversation, hooks, result.
#ifndef STILLPOINT_SDK_CHECKPOINT_H_
#define STILLPOINT_SDK_CHECKPOINT_H_

#include <stillpoint/stillpoint.h>

namespace stillpoint::sdk {

struct CheckpointCall {
  const char* directory = nullptr;                // may be null
  const stillpoint_options_t* options = nullptr;  // may be null
  stillpoint_result_t* result = nullptr;          // may be null
  bool return_on_stop = false;                    // a stop that a tool asks for is left to the caller
  bool logged = false;                            // result: STILLPOINT_LOG has a line about it
  bool stop_requested = false;                    // result: the image is durable and a tool asked the program to stop
};

// Sets last_call(). Counts as one of the anchor's calls and answers its request, if there is one. May throw
// std::bad_alloc before anything has begun.
stillpoint_code_t take_checkpoint(CheckpointCall& call);

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_CHECKPOINT_H_
