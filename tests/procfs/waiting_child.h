// A forked child that prepares itself, says so, and waits to be killed.
#ifndef STILLPOINT_TESTS_PROCFS_WAITING_CHILD_H_
#define STILLPOINT_TESTS_PROCFS_WAITING_CHILD_H_

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper/base/unique_fd.h"

namespace stillpoint::procfs {

// `prepare` runs in the child and returns whether it succeeded. The child dies with the test.
class WaitingChild {
 public:
  template <typename Prepare>
  explicit WaitingChild(Prepare prepare) {
    int ends[2];
    if (::pipe(ends) != 0) return;
    const UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent || !prepare() || ::write(writer.get(), "r", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    writer.reset();
    char byte = 0;
    ready_ = ::read(reader.get(), &byte, 1) == 1;
  }
  ~WaitingChild() { kill(); }
  WaitingChild(const WaitingChild&) = delete;
  WaitingChild& operator=(const WaitingChild&) = delete;

  pid_t pid() const { return pid_; }
  bool ready() const { return ready_; }

  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  // Kills it without reaping it: a zombie until the object goes.
  void make_zombie() {
    ::kill(pid_, SIGKILL);
    siginfo_t info;
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
  }

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

}  // namespace stillpoint::procfs

#endif  // STILLPOINT_TESTS_PROCFS_WAITING_CHILD_H_
