// Real processes for end-to-end tests: started, watched, killed and waited for.
#ifndef STILLPOINT_TESTS_E2E_SUPPORT_RUNNING_PROGRAM_H_
#define STILLPOINT_TESTS_E2E_SUPPORT_RUNNING_PROGRAM_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace stillpoint::e2e {

// Generous: a loaded machine is slow, a hung program is hung for ever.
inline constexpr std::chrono::seconds kPatience{60 * STILLPOINT_TIMEOUT_FACTOR};

// Polls until `condition` holds or kPatience is over; says which.
bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds patience = kPatience);

std::string read_file(const std::string& path);  // empty when there is none
void write_file(const std::string& path, const std::string& text);
bool file_contains(const std::string& path, const std::string& text);

// A directory below TMPDIR, removed with everything in it. Readable and writable for every user.
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

struct StartOptions {
  std::string output;  // file for stdout and stderr; appended to. Empty: /dev/null
  std::string input = "/dev/null";
  std::string working_directory;                   // empty: the test's
  std::map<std::string, std::string> environment;  // added to the test's
  uid_t uid = static_cast<uid_t>(-1);              // and gid; root only
  bool new_session = false;
};

// Destroying the object kills the process.
class RunningProgram {
 public:
  RunningProgram(std::vector<std::string> arguments, const StartOptions& options = {});
  RunningProgram(RunningProgram&& other) noexcept;
  ~RunningProgram();

  pid_t pid() const { return pid_; }
  bool running();
  void signal(int number) const;
  // Exit code, or 128 + signal. -1: still running after `patience`.
  int wait(std::chrono::milliseconds patience = kPatience);
  void kill_and_wait();

 private:
  pid_t pid_ = 0;
  int status_ = -1;
  bool over_ = false;
};

struct Outcome {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};
// Runs to the end.
Outcome run(std::vector<std::string> arguments, StartOptions options = {});

// Paths of what was built; from the environment variables CTest sets.
std::string stillpoint_command();
std::string built_program(const std::string& name);  // a target program of tests/e2e, or a sample

bool is_root();
inline constexpr uid_t kNobody = 65534;

}  // namespace stillpoint::e2e

#endif  // STILLPOINT_TESTS_E2E_SUPPORT_RUNNING_PROGRAM_H_
