// Any program, in a directory of its own: checkpointed from outside, killed, restarted, again and again.
#ifndef STILLPOINT_TESTS_E2E_SUPPORT_PROGRAM_JOB_H_
#define STILLPOINT_TESTS_E2E_SUPPORT_PROGRAM_JOB_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/support/running_program.h"

namespace stillpoint::e2e {

class ProgramJob {
 public:
  explicit ProgramJob(uid_t uid = static_cast<uid_t>(-1)) : uid_(uid) {}
  ProgramJob(const ProgramJob&) = delete;
  ProgramJob& operator=(const ProgramJob&) = delete;
  ~ProgramJob();

  std::string path(const std::string& name) const { return directory_ / name; }
  std::string images() const { return directory_ / "images"; }

  void start(std::vector<std::string> arguments, StartOptions options = {});
  pid_t pid() const { return pid_; }  // of the life that runs, as seen from here
  bool running() { return life_ != nullptr && life_->running(); }

  // `stillpoint checkpoint --pid`; exit code and output.
  Outcome checkpoint(const std::vector<std::string>& options = {},
                     const std::map<std::string, std::string>& environment = {});
  // SIGKILL to the program and all processes below it, and the end of whoever waited for the program: 128 + SIGKILL.
  int kill();
  // The same, if anything runs.
  void end();
  // `stillpoint restart`, until the program is there. False: see said().
  bool restart(const std::vector<std::string>& options = {},
               const std::map<std::string, std::string>& environment = {});
  // To the program in its first life, to the `stillpoint restart` above it in every later one.
  void signal(int number) const { life_->signal(number); }
  // Until the program has ended by itself; -1: it has not.
  int wait() { return life_->wait(); }
  std::string said() const { return read_file(directory_ / "said"); }  // by the last `stillpoint restart`

  // All of it: checkpoint, kill, restart. Empty, or what went wrong.
  std::string round(const std::map<std::string, std::string>& environment = {},
                    const std::vector<std::string>& restart_options = {});

 private:
  TemporaryDirectory directory_;
  const uid_t uid_;
  std::unique_ptr<RunningProgram> life_;  // the program itself, or the `stillpoint restart` above it
  pid_t pid_ = 0;
};

// A process and all below it.
std::vector<pid_t> family_of(pid_t root);

// The file's lines that hold "ERROR", joined.
std::string errors_in(const std::string& report);
size_t count_lines(const std::string& text);

// STILLPOINT_QUICK: fewer rounds, for sanitizers and the impatient.
int rounds(int usual);

}  // namespace stillpoint::e2e

#endif  // STILLPOINT_TESTS_E2E_SUPPORT_PROGRAM_JOB_H_
