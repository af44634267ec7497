// A program that SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU has stopped (job control), as an image holds it.
#ifndef STILLPOINT_HELPER_DUMP_GROUP_STOP_H_
#define STILLPOINT_HELPER_DUMP_GROUP_STOP_H_

#include <sys/types.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "helper/dump/application_calls.h"
#include "helper/model/model.pb.h"
#include "helper/tracee/frozen_process.h"

namespace stillpoint {

bool group_stopped(FrozenProcess& process);

// `stopped`: as it was frozen. Its pending signals have been read: a SIGSTOP among them stops it all the same, a
// SIGCONT has continued it.
void enter_group_stop(bool stopped, model::Process& process);

// What wait(2) has yet to tell `parent` of a stop or continuation of its child.
absl::Status ask_unreported(ApplicationCalls& parent, model::Process& process);

// Until the process is no longer stopped. FAILED_PRECONDITION at `deadline`. It must not be traced.
absl::Status wait_until_continued(pid_t pid, absl::Time deadline);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_GROUP_STOP_H_
