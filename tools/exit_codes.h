// What the stillpoint command's exit codes mean, and how a supervised program's end becomes its own.
#ifndef STILLPOINT_TOOLS_EXIT_CODES_H_
#define STILLPOINT_TOOLS_EXIT_CODES_H_

#include <string>

namespace stillpoint::tools {

// `run` and `restart` otherwise pass on the exit code of the program.
enum ExitCode : int {
  kSuccess = 0,
  kNegative = 1,         // the answer is no: findings (audit, checkpoint), restart not possible (check)
  kDamaged = 3,          // verify: the image is damaged or incomplete
  kRequeue = 85,         // run: checkpointed and ended on --stop-on-signal; start the same line again
  kNoUsableImage = 86,   // run, restart: images are there, none can be used; nothing started, nothing deleted
  kTimedOut = 124,       // checkpoint: the program did not reach checkpoint() or poll() within --wait
  kFailed = 125,         // Stillpoint itself failed, usage errors included
  kCannotExecute = 126,  // run: the program was found and cannot be executed
  kNotFound = 127,       // run: the program was not found
};

// The table printed by every --help that needs it.
extern const char kExitCodeHelp[];

// 126 or 127 for an errno of execve(2).
int exit_code_of_exec_error(int error);
// Says what is wrong with `program`, a path or a name looked for in PATH, which execvp(3) did not start.
std::string describe_exec_error(const std::string& program, int error);

// Ends this process as the process with wait status `status` ended: its exit code, or death by the same signal
// (default action, no core file). Where the signal does not kill us (init of a pid namespace): 128 + signal.
[[noreturn]] void end_like(int status);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_EXIT_CODES_H_
