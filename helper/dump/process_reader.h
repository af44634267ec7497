// What belongs to a whole process: ids, limits, signal handlers, timers, clocks, working directory.
#ifndef STILLPOINT_HELPER_DUMP_PROCESS_READER_H_
#define STILLPOINT_HELPER_DUMP_PROCESS_READER_H_

#include <sys/types.h>

#include "absl/status/status.h"
#include "helper/dump/application_calls.h"
#include "helper/model/model.pb.h"

namespace stillpoint {

// Everything /proc tells. `tid`: a living thread of it (a leader that has left shows little).
absl::Status read_process(pid_t pid, pid_t tid, model::Process& out);
// Of a zombie: ids, name and how it ended.
absl::Status read_zombie(pid_t pid, model::Process& out);
// Which sessions and process groups are those of the starter: led by nobody of the tree.
void mark_inherited_groups(model::Tree& tree);
absl::Status read_filesystem_context(pid_t pid, pid_t tid, model::FilesystemContext& out);
absl::Status read_clocks(model::Clocks& out);

// What only the process itself can say. Its timers: timers_reader.h.
absl::Status ask_process(ApplicationCalls& calls, model::Process& out);
// Handlers of the signals that /proc/PID/status names as caught or ignored.
absl::Status ask_signal_actions(ApplicationCalls& calls, model::SignalTable& out);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_PROCESS_READER_H_
