#include "tools/exit_codes.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace stillpoint::tools {

const char kExitCodeHelp[] =
    "Exit codes:\n"
    "  the program's own; its death by a signal is re-raised\n"
    "   85  checkpointed and ended on --stop-on-signal: please requeue the same line\n"
    "   86  images are there, but none can be used; nothing was started, nothing deleted\n"
    "  125  Stillpoint itself failed\n"
    "  126  the program cannot be executed\n"
    "  127  the program was not found\n";

int exit_code_of_exec_error(int error) { return error == ENOENT || error == ENOTDIR ? kNotFound : kCannotExecute; }

void end_like(int status) {
  ::fflush(nullptr);
  if (WIFEXITED(status)) ::_exit(WEXITSTATUS(status));
  if (!WIFSIGNALED(status)) ::_exit(kFailed);

  // The program wrote its core file where it wanted one; ours would say nothing.
  const rlimit no_core = {0, 0};
  (void)::setrlimit(RLIMIT_CORE, &no_core);
  const int signal_number = WTERMSIG(status);
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  (void)::sigaction(signal_number, &action, nullptr);  // EINVAL for SIGKILL, whose action cannot be anything else
  (void)::kill(::getpid(), signal_number);
  sigset_t mask;
  ::sigemptyset(&mask);
  ::sigaddset(&mask, signal_number);
  (void)::sigprocmask(SIG_UNBLOCK, &mask, nullptr);
  ::_exit(128 + signal_number);
}

}  // namespace stillpoint::tools
