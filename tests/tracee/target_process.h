// The test program (target.h) as a child process, and other processes the tests need.
#ifndef STILLPOINT_TESTS_TRACEE_TARGET_PROCESS_H_
#define STILLPOINT_TESTS_TRACEE_TARGET_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "helper/base/unique_fd.h"
#include "helper/tracee/frozen_process.h"
#include "helper/tracee/remote_call.h"

namespace stillpoint {

inline constexpr absl::Duration kPatience = absl::Seconds(60);  // for what always comes, however loaded the machine

// Started and "ready"; killed when it goes, unless finish() was called.
class TargetProcess {
 public:
  explicit TargetProcess(std::vector<std::string> arguments);
  ~TargetProcess();
  TargetProcess(const TargetProcess&) = delete;
  TargetProcess& operator=(const TargetProcess&) = delete;

  pid_t pid() const { return pid_; }
  void send(char byte) const;
  std::string read_line();
  // Tells it to end and returns what it printed after "ready"; its exit status must be 0.
  std::string finish();

 private:
  pid_t pid_ = 0;
  UniqueFd input_, output_;
};

// A forked child of the test that runs `body` and exits with its result. Killed when the object goes.
class ChildProcess {
 public:
  explicit ChildProcess(const std::function<int()>& body);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  int wait();  // the wait status
  int kill_and_wait();

 private:
  pid_t pid_ = 0;
};

FrozenProcess freeze_or_die(pid_t pid);  // aborts the calling process on failure, with the status
CodeGadgets gadgets_of(pid_t pid);
char state_of(pid_t pid, pid_t tid);  // as /proc shows it; 0: gone
// Polls until `condition` holds; false after kPatience.
bool eventually(const std::function<bool()>& condition);

}  // namespace stillpoint

#endif  // STILLPOINT_TESTS_TRACEE_TARGET_PROCESS_H_
