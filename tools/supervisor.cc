#include "tools/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "tools/console.h"
#include "tools/duration.h"

namespace stillpoint::tools {
namespace {

// Everything somebody may send a job on purpose. Not those that a program brings upon itself (SEGV, ...), not KILL
// and STOP, which nobody can catch, and not TTIN and TTOU, which mean us.
constexpr int kForwarded[] = {SIGHUP,  SIGINT, SIGQUIT,  SIGUSR1, SIGUSR2, SIGTERM,   SIGALRM, SIGCONT,
                              SIGTSTP, SIGURG, SIGWINCH, SIGIO,   SIGPWR,  SIGVTALRM, SIGPROF, SIGXCPU};
constexpr int kEnding[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};

bool ignored(int signal_number) {
  struct sigaction action = {};
  return ::sigaction(signal_number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t ending_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal_number : kEnding) {
    if (!ignored(signal_number)) ::sigaddset(&set, signal_number);
  }
  return set;
}

}  // namespace

bool SignalInbox::receives(int signal_number) {
  return std::find(std::begin(kForwarded), std::end(kForwarded), signal_number) != std::end(kForwarded) ||
         (signal_number >= SIGRTMIN && signal_number <= SIGRTMAX);
}

absl::StatusOr<SignalInbox> SignalInbox::open() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal_number : kForwarded) ::sigaddset(&set, signal_number);
  for (int signal_number = SIGRTMIN; signal_number <= SIGRTMAX; ++signal_number) ::sigaddset(&set, signal_number);
  ::sigaddset(&set, SIGCHLD);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return errno_status(errno, "sigprocmask");
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  const sigset_t ending = ending_signals();
  UniqueFd ending_fd(::signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid() || !ending_fd.valid()) return errno_status(errno, "signalfd");
  return SignalInbox(std::move(fd), std::move(ending_fd));
}

bool SignalInbox::next(signalfd_siginfo& info) const { return ::read(fd_.get(), &info, sizeof info) == sizeof info; }

int SignalInbox::take_ending_signal() const {
  signalfd_siginfo info;
  return ::read(ending_fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

void Supervisor::watch(int fd, std::function<void()> ready) { watches_.push_back({fd, std::move(ready)}); }

absl::Status Supervisor::send_signal(int signal_number) const {
  const int result = program_.pidfd.valid() ? sys_pidfd_send_signal(program_.pidfd.get(), signal_number)
                                            : ::kill(program_.pid, signal_number);
  if (result == 0 || errno == ESRCH) return absl::OkStatus();  // it has ended: we are about to see it
  return errno_status(errno, absl::StrCat("sending ", signal_name(signal_number), " to pid ", program_.pid));
}

void Supervisor::handle(const signalfd_siginfo& info) {
  const int signal_number = static_cast<int>(info.ssi_signo);
  if (signal_number == SIGCHLD) return;
  // The terminal sends its signals to the whole foreground process group: the program has had it already.
  const bool from_terminal = info.ssi_code == SI_KERNEL && ::getpgid(program_.pid) == ::getpgrp();
  if (!from_terminal) {
    if (intercept_ && intercept_(signal_number)) return;
    if (const absl::Status sent = send_signal(signal_number); !sent.ok()) say_error(sent);
  }
  // The stop of a program in its own pid namespace is not reported to us: stop when it was told to.
  if (signal_number == SIGTSTP && program_.status_pipe.valid()) stop_with_program(SIGTSTP);
}

// The shell waits for us, not for the program: it must see a stopped job.
void Supervisor::stop_with_program(int signal_number) {
  if (signal_number != SIGTSTP && signal_number != SIGTTIN && signal_number != SIGTTOU) return;
  (void)::kill(::getpid(), SIGSTOP);
  // Continued. The shell's SIGCONT went to the whole group; one sent to us alone is forwarded like this.
  if (const absl::Status sent = send_signal(SIGCONT); !sent.ok()) say_error(sent);
}

absl::StatusOr<bool> Supervisor::reap(int& status) {
  for (;;) {
    const pid_t changed = ::waitpid(program_.child_pid, &status, WNOHANG | WUNTRACED | __WALL);
    if (changed == 0) return false;
    if (changed < 0 && errno == EINTR) continue;
    if (changed < 0) return errno_status(errno, absl::StrCat("waitpid of ", program_.child_pid));
    if (!WIFSTOPPED(status)) return true;
    stop_with_program(WSTOPSIG(status));
  }
}

absl::StatusOr<int> Supervisor::final_status(int child_status) const {
  if (!program_.status_pipe.valid()) return child_status;
  int status = 0;
  ssize_t got;
  do {
    got = ::read(program_.status_pipe.get(), &status, sizeof status);
  } while (got < 0 && errno == EINTR);
  if (got == static_cast<ssize_t>(sizeof status)) return status;
  // The init of the namespace was killed, and the program with it.
  if (WIFSIGNALED(child_status)) return child_status;
  return absl::DataLossError(absl::StrCat("the init of the restored program's pid namespace ended without saying how ",
                                          "pid ", program_.pid, " ended"));
}

absl::StatusOr<int> Supervisor::wait() {
  const UniqueFd child_fd(sys_pidfd_open(program_.child_pid, 0));
  for (;;) {
    int status = 0;
    ASSIGN_OR_RETURN(const bool ended, reap(status));
    if (ended) return final_status(status);

    std::vector<pollfd> wanted = {{inbox_.fd(), POLLIN, 0}, {child_fd.get(), POLLIN, 0}};
    for (const Watch& watch : watches_) wanted.push_back({watch.fd, POLLIN, 0});
    if (::poll(wanted.data(), wanted.size(), -1) < 0 && errno != EINTR) return errno_status(errno, "poll");
    signalfd_siginfo info;
    while (inbox_.next(info)) handle(info);
    for (size_t i = 0; i < watches_.size(); ++i) {
      if (wanted[i + 2].revents != 0) watches_[i].ready();
    }
    if (after_events_) after_events_();
  }
}

}  // namespace stillpoint::tools
