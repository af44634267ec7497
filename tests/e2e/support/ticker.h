// A ticker program of the tests, its checkpoints and what it must have printed.
#ifndef STILLPOINT_TESTS_E2E_SUPPORT_TICKER_H_
#define STILLPOINT_TESTS_E2E_SUPPORT_TICKER_H_

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/support/running_program.h"

namespace stillpoint::e2e {

// What a ticker prints in `ticks` ticks when nothing ever happens to it.
std::string expected_ticker_output(int ticks);

// One job: a directory, a program, its later lives. Everything still running is killed at the end.
class TickerJob {
 public:
  enum class Kind { kPlain, kSdk };
  explicit TickerJob(Kind kind, uid_t uid = static_cast<uid_t>(-1));
  TickerJob(const TickerJob&) = delete;
  TickerJob& operator=(const TickerJob&) = delete;
  ~TickerJob();

  std::string path(const std::string& name) const { return directory_ / name; }
  std::string images() const { return directory_ / "ckpt"; }
  std::string image(int sequence) const;
  std::string output() const { return read_file(directory_ / "output"); }
  std::string said() const { return read_file(directory_ / "said"); }      // by the stillpoint commands
  std::string report() const { return read_file(directory_ / "report"); }  // by the SDK ticker about its checkpoints
  uid_t uid() const { return uid_; }
  std::vector<std::string> command_line() const;

  void start(const std::string& extra_file = "");
  RunningProgram& program() { return *program_; }
  int ticks() const;  // finished so far, from the output
  // Until `more` ticks have been printed beyond what is there now.
  bool ticks_go_on(int more = 3);

  // `stillpoint ARGUMENTS...` to the end, as the job's user; exit code and output.
  Outcome stillpoint(std::vector<std::string> arguments, std::map<std::string, std::string> environment = {}) const;
  Outcome checkpoint(pid_t pid, std::map<std::string, std::string> environment = {}) const;
  // Lets the SDK ticker take one itself (see sdk_ticker.cc); the line it reports. Empty: none within kPatience.
  std::string checkpoint_by_itself(const std::string& order = "");

  // `stillpoint restart`, until the program is there; its pid in our pid namespace, 0 when it is not.
  pid_t restart(std::vector<std::string> options = {}, const std::string& image = "",
                const std::string& directory = "");
  RunningProgram& restarter() { return *restarter_; }
  void kill_program();           // first life
  int kill_restored(pid_t pid);  // later life; the exit code of its `stillpoint restart`

  // Lets the program (whichever life) come to its end; the exit code of `last`.
  int finish(RunningProgram& last, const std::string& how = "0");
  // Everything printed is what an uninterrupted run prints, to the last line.
  bool output_is_whole() const;

 private:
  TemporaryDirectory directory_;
  Kind kind_;
  uid_t uid_;
  std::unique_ptr<RunningProgram> program_;
  std::unique_ptr<RunningProgram> restarter_;
};

// The pid `stillpoint restart` says it restored, as seen from outside; 0: it has not said so.
pid_t restored_pid(const std::string& said);

// Processes whose command line holds `text`, zombies left out.
std::vector<pid_t> processes_naming(const std::string& text);

// Children of the test that nobody waits for come to the test itself: at its end there must be none.
class OrphanWatch {
 public:
  OrphanWatch();
  // Command lines of the processes that are left; waits for kPatience until there are none. Call it when everything the
  // test knows of has ended.
  std::string left_over();
};

}  // namespace stillpoint::e2e

#endif  // STILLPOINT_TESTS_E2E_SUPPORT_TICKER_H_
