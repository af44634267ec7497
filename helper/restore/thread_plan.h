// model::Thread and model::Process -> the calls that each restored thread makes for itself.
#ifndef STILLPOINT_HELPER_RESTORE_THREAD_PLAN_H_
#define STILLPOINT_HELPER_RESTORE_THREAD_PLAN_H_

#include "absl/status/status.h"
#include "helper/model/model.pb.h"
#include "helper/restore/call_list.h"
#include "helper/restore/credentials.h"

namespace stillpoint {

// Everything a thread sets about itself; credentials and no_new_privs come last. `pid` is the thread group.
void plan_thread(const model::Thread& thread, int pid, const CallerCredentials& caller, CallList& calls);

// What the leader does before the other threads exist: handlers, working directory, umask, session.
void plan_process(const model::Process& process, const model::SignalTable& signals,
                  const model::FilesystemContext& context, const std::string& working_directory, CallList& calls);
// What it does once they exist: timers, pending signals, resource limits (never raising a hard limit above `caller`'s).
// UNIMPLEMENTED: a timer whose id this kernel gives to nobody.
absl::Status plan_late(const model::Process& process, CallList& calls, std::vector<std::string>& notes);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_THREAD_PLAN_H_
