// Whether the task behind a pidfd still runs, and what it died of.
#ifndef STILLPOINT_HELPER_MEMORY_TASK_LIVENESS_H_
#define STILLPOINT_HELPER_MEMORY_TASK_LIVENESS_H_

#include "absl/strings/string_view.h"
#include "helper/base/unique_fd.h"
#include "helper/memory/worker_client.h"

namespace stillpoint {

// ABORTED "the NAME died (signal 7, SIGBUS) while DOING" once the task is dead, or, when it is our tracee, stopped with
// a signal it will die of. What waitpid would say stays to be collected. Why it died is known for children and tracees.
WorkerClient::Liveness liveness_by_pidfd(UniqueFd pidfd, absl::string_view name);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_TASK_LIVENESS_H_
