#include "tools/child_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/unique_fd.h"
#include "helper/procfs/process_files.h"
#include "tools/duration.h"

namespace stillpoint::tools {
namespace {

struct InheritedSignals {
  bool known = false;
  sigset_t mask;
  struct sigaction child;
  struct sigaction pipe;
};
InheritedSignals inherited;

[[noreturn]] void run_child(const SpawnOptions& options, char* const argv[], char* const environment[], int report_fd) {
  if (options.in_child) options.in_child();
  restore_inherited_signals();
  if (options.keep_fds_below >= 0) {
    (void)::syscall(SYS_close_range, static_cast<unsigned>(options.keep_fds_below), ~0U, CLOSE_RANGE_CLOEXEC);
  }
  ::execvpe(options.path.c_str(), argv, environment);
  const int error = errno;
  (void)!::write(report_fd, &error, sizeof error);
  ::_exit(127);
}

// The environment with the additions in place of what they replace.
std::vector<std::string> merged_environment(const SpawnOptions& options) {
  std::vector<std::string> merged;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string text(*entry);
    const bool replaced = std::any_of(options.environment.begin(), options.environment.end(),
                                      [&](const auto& added) { return text.rfind(added.first + "=", 0) == 0; });
    if (!replaced) merged.push_back(text);
  }
  for (const auto& [name, value] : options.environment) merged.push_back(absl::StrCat(name, "=", value));
  return merged;
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

void inherit_signals() {
  (void)::sigprocmask(SIG_SETMASK, nullptr, &inherited.mask);
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  (void)::sigaction(SIGCHLD, &action, &inherited.child);
  action.sa_handler = SIG_IGN;
  (void)::sigaction(SIGPIPE, &action, &inherited.pipe);
  inherited.known = true;
}

void restore_inherited_signals() {
  if (!inherited.known) return;
  (void)::sigaction(SIGCHLD, &inherited.child, nullptr);
  (void)::sigaction(SIGPIPE, &inherited.pipe, nullptr);
  (void)::sigprocmask(SIG_SETMASK, &inherited.mask, nullptr);
}

absl::StatusOr<SpawnedProcess> spawn_process(const SpawnOptions& options) {
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) return errno_status(errno, "pipe2");
  UniqueFd reader(pipe_fds[0]);
  // Above every fd that a child rearranges.
  UniqueFd writer(::fcntl(pipe_fds[1], F_DUPFD_CLOEXEC, 16));
  ::close(pipe_fds[1]);
  if (!writer.valid()) return errno_status(errno, "fcntl(F_DUPFD_CLOEXEC)");

  std::vector<std::string> arguments = options.arguments;
  std::vector<std::string> environment = merged_environment(options);
  const std::vector<char*> argv = pointers_to(arguments);
  const std::vector<char*> envp = pointers_to(environment);
  const pid_t pid = ::fork();
  if (pid < 0) return errno_status(errno, "fork");
  if (pid == 0) run_child(options, argv.data(), envp.data(), writer.get());
  writer.reset();

  SpawnedProcess spawned{pid, 0};
  ssize_t got;
  do {
    got = ::read(reader.get(), &spawned.exec_error, sizeof spawned.exec_error);
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(sizeof spawned.exec_error)) spawned.exec_error = 0;
  if (spawned.exec_error != 0) (void)wait_for(pid, absl::InfiniteFuture());
  return spawned;
}

absl::StatusOr<int> wait_for(pid_t pid, absl::Time deadline) {
  const UniqueFd pidfd(sys_pidfd_open(pid, 0));
  for (;;) {
    int status = 0;
    const bool may_block = deadline == absl::InfiniteFuture();
    const pid_t ended = ::waitpid(pid, &status, may_block ? __WALL : __WALL | WNOHANG);
    if (ended == pid) return status;
    if (ended < 0 && errno != EINTR) return errno_status(errno, absl::StrCat("waitpid of ", pid));
    if (may_block) continue;
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError(absl::StrCat("process ", pid, " still runs"));
    // Without a pidfd (the process is a zombie already, or the kernel refuses): look again soon.
    pollfd ended_fd = {pidfd.get(), POLLIN, 0};
    const int64_t limit_ms = pidfd.valid() ? 60000 : 10;
    const int64_t left_ms = absl::ToInt64Milliseconds(left) + 1;
    (void)::poll(&ended_fd, 1, static_cast<int>(std::min(limit_ms, left_ms)));
  }
}

std::string describe_wait_status(int status) {
  if (WIFEXITED(status)) return absl::StrCat("exit code ", WEXITSTATUS(status));
  if (WIFSIGNALED(status)) return absl::StrCat("killed by ", signal_name(WTERMSIG(status)));
  return absl::StrCat("wait status ", status);
}

std::vector<pid_t> children() {
  const absl::StatusOr<std::vector<pid_t>> found = procfs::read_children(::getpid());
  return found.ok() ? *found : std::vector<pid_t>();
}

}  // namespace stillpoint::tools
