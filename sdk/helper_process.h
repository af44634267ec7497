// The helper at the other end of a socket: started for one checkpoint, or a service.
#ifndef STILLPOINT_SDK_HELPER_PROCESS_H_
#define STILLPOINT_SDK_HELPER_PROCESS_H_

#include <stillpoint/status.h>
#include <sys/types.h>

#include "sdk/detached_clone.h"
#include "sdk/settings.h"

namespace stillpoint::sdk {

struct HelperConnection {
  int socket = -1;   // the caller closes it
  pid_t pid = 0;     // of the helper; of the service's listener
  pid_t keeper = 0;  // its parent and our child, where we are pid 1: the caller reaps it; else 0
};

// UNAVAILABLE says which call failed and on what. All signals must be blocked in the calling thread.
Result<HelperConnection> connect_to_helper(const Settings& settings, CloneStacks& stacks);

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_HELPER_PROCESS_H_
