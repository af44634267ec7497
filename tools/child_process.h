// Starting a child so that it sees what we were started with, and waiting for one.
#ifndef STILLPOINT_TOOLS_CHILD_PROCESS_H_
#define STILLPOINT_TOOLS_CHILD_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace stillpoint::tools {

struct SpawnOptions {
  std::string path;                    // what execve(2) is given; searched in PATH when it has no slash
  std::vector<std::string> arguments;  // argv, [0] included
  std::vector<std::pair<std::string, std::string>> environment;  // set in addition to ours
  // fds from here on are closed in the child; -1: only those that are close-on-exec.
  int keep_fds_below = -1;
  // Runs in the child before execve; only async-signal-safe calls.
  std::function<void()> in_child;
};

struct SpawnedProcess {
  pid_t pid = 0;
  int exec_error = 0;  // errno of execve; the child has been reaped then
};

// fork and execve. The child has the signal mask and dispositions that this process was started with (see
// inherit_signals). An error Status: no process was made.
absl::StatusOr<SpawnedProcess> spawn_process(const SpawnOptions& options);

// Remembers the signal mask and the disposition of SIGCHLD that this process was started with, and makes SIGCHLD
// SIG_DFL (inherited SIG_IGN would let the kernel reap our children) and SIGPIPE SIG_IGN. Called once, first in main().
void inherit_signals();
// Puts both back; async-signal-safe.
void restore_inherited_signals();

// Waits for the end of child `pid` and reaps it; gives its wait status. DEADLINE_EXCEEDED leaves it be.
absl::StatusOr<int> wait_for(pid_t pid, absl::Time deadline);

// "exit code 3", "killed by SIGSEGV".
std::string describe_wait_status(int status);

// Pids of this process's living children and zombies (all its threads').
std::vector<pid_t> children();

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_CHILD_PROCESS_H_
