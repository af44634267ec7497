// Lets a worker thread make the calls of a CallList.
#ifndef STILLPOINT_HELPER_RESTORE_CALL_RUNNER_H_
#define STILLPOINT_HELPER_RESTORE_CALL_RUNNER_H_

#include "absl/status/status.h"
#include "helper/memory/worker_client.h"
#include "helper/restore/call_list.h"

namespace stillpoint {

// All calls in order; stops at the first that fails and must not, naming it.
absl::Status run_calls(const CallList& calls, WorkerClient& client);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_CALL_RUNNER_H_
