#include "tools/exit_codes.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "tools/console.h"

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

std::string describe_exec_error(const std::string& program, int error) {
  const std::string name = printable_line(program);
  const bool is_path = program.find('/') != std::string::npos;
  if (exit_code_of_exec_error(error) == kNotFound) {
    if (!is_path) return absl::StrCat("there is no program \"", name, "\" in PATH");
    if (::access(program.c_str(), F_OK) != 0) return absl::StrCat("there is no program ", name);
    return absl::StrCat(name, " cannot be executed: the interpreter that it names (#!, or the loader) is missing");
  }
  if (error != EACCES) return std::string(errno_status(error, absl::StrCat("execve of ", name)).message());
  return absl::StrCat(name, is_path ? "" : ", found in PATH,",
                      " is not executable for you: see its mode (chmod +x) and those of the directories above it");
}

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
