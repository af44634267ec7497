// The parent's side of a supervised program: forwards signals to it, takes part in job control, and waits for its end.
#ifndef STILLPOINT_TOOLS_SUPERVISOR_H_
#define STILLPOINT_TOOLS_SUPERVISOR_H_

#include <sys/signalfd.h>
#include <sys/types.h>

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"

namespace stillpoint::tools {

// Who is supervised, and whom to wait for: they differ for a program in a pid namespace of its own, whose init is
// our child and writes the program's wait status to `status_pipe`.
struct SupervisedProgram {
  pid_t pid = 0;  // of the program, in our pid namespace
  UniqueFd pidfd;
  pid_t child_pid = 0;
  UniqueFd status_pipe;  // invalid: child_pid is the program
};

// Blocks the signals that are forwarded and receives them instead. Exists before the program does, so that none is
// lost: one that comes early waits here and is forwarded when supervise() begins. Needs inherit_signals() first.
class SignalInbox {
 public:
  static absl::StatusOr<SignalInbox> open();
  // False for signals that nobody can catch, or that mean this process alone.
  static bool receives(int signal_number);
  int fd() const { return fd_.get(); }
  // The next signal; false: none waits.
  bool next(signalfd_siginfo& info) const;
  // Takes a waiting TERM, INT, HUP or QUIT that would have ended us (not one that is ignored, as HUP under nohup);
  // 0: none waits. Others stay where they are.
  int take_ending_signal() const;
  // An fd that is readable while a signal waits that would have ended us.
  int ending_fd() const { return ending_fd_.get(); }

 private:
  SignalInbox(UniqueFd fd, UniqueFd ending_fd) : fd_(std::move(fd)), ending_fd_(std::move(ending_fd)) {}
  UniqueFd fd_;
  UniqueFd ending_fd_;
};

class Supervisor {
 public:
  Supervisor(SupervisedProgram program, const SignalInbox& inbox) : program_(std::move(program)), inbox_(inbox) {}

  // Calls `ready` from wait() whenever `fd` is readable.
  void watch(int fd, std::function<void()> ready);
  // Asked for each signal that is neither SIGCHLD nor from the terminal; true: dealt with, not forwarded.
  void intercept(std::function<bool(int signal_number)> taken) { intercept_ = std::move(taken); }
  // Asked after every wake-up.
  void after_events(std::function<void()> check) { after_events_ = std::move(check); }

  const SupervisedProgram& program() const { return program_; }
  absl::Status send_signal(int signal_number) const;
  // Until the program ends; its wait status. The child has been reaped then.
  absl::StatusOr<int> wait();

 private:
  struct Watch {
    int fd;
    std::function<void()> ready;
  };
  void handle(const signalfd_siginfo& info);
  void stop_with_program(int signal_number);
  // True when the child ended; `status` is set.
  absl::StatusOr<bool> reap(int& status);
  absl::StatusOr<int> final_status(int child_status) const;

  SupervisedProgram program_;
  const SignalInbox& inbox_;
  std::vector<Watch> watches_;
  std::function<bool(int)> intercept_;
  std::function<void()> after_events_;
};

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_SUPERVISOR_H_
