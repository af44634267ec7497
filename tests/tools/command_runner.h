// Runs a command as a user would and keeps what came of it.
#ifndef STILLPOINT_TESTS_TOOLS_COMMAND_RUNNER_H_
#define STILLPOINT_TESTS_TOOLS_COMMAND_RUNNER_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace stillpoint::tools {

// A directory that goes with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct CommandSpec {
  std::vector<std::string> arguments;  // [0] is the path
  std::vector<std::pair<std::string, std::string>> environment;
};

// A command that goes on. Destroying the object kills it and reaps it.
class RunningCommand {
 public:
  explicit RunningCommand(const CommandSpec& spec);
  RunningCommand(const RunningCommand&) = delete;
  RunningCommand& operator=(const RunningCommand&) = delete;
  ~RunningCommand();

  pid_t pid() const { return pid_; }
  void signal(int signal_number) const;
  std::string out() const;  // so far
  std::string err() const;
  // Until `text` stands in stdout (stderr): false after half a minute.
  bool wait_for_out(const std::string& text) const;
  bool wait_for_err(const std::string& text) const;
  bool ended() const;
  // Waits for the end, half a minute at most (then the test fails); its wait status.
  int finish();

 private:
  pid_t pid_ = -1;
  TemporaryDirectory output_;
};

struct CommandResult {
  int status = -1;     // wait status
  int exit_code = -1;  // -1: not an exit
  std::string out;
  std::string err;
};
CommandResult run_command_line(const CommandSpec& spec);

std::string file_contents(const std::string& path);
void write_file(const std::string& path, const std::string& contents);

// Looks every 5 ms until `reached`, half a minute at most.
bool eventually(const std::function<bool()>& reached);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TESTS_TOOLS_COMMAND_RUNNER_H_
