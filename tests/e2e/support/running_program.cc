#include "tests/e2e/support/running_program.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

namespace stillpoint::e2e {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

void redirect(const std::string& path, int flags, int number) {
  const int fd = ::open(path.empty() ? "/dev/null" : path.c_str(), flags, 0666);
  if (fd < 0 || ::dup2(fd, number) < 0) ::_exit(120);
  ::close(fd);
}

[[noreturn]] void become(const std::vector<std::string>& arguments, const StartOptions& options) {
  redirect(options.input, O_RDONLY, STDIN_FILENO);
  redirect(options.output, O_WRONLY | O_CREAT | O_APPEND, STDOUT_FILENO);
  if (::dup2(STDOUT_FILENO, STDERR_FILENO) < 0) ::_exit(120);
  // What the tests were started with is none of the program's.
  if (::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) != 0) ::_exit(120);
  if (options.new_session && ::setsid() < 0) ::_exit(120);
  if (!options.working_directory.empty() && ::chdir(options.working_directory.c_str()) != 0) ::_exit(121);
  ::setenv("STILLPOINT_HELPER", STILLPOINT_BUILT_HELPER, 0);
  for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
  if (options.uid != static_cast<uid_t>(-1)) {
    if (::setgroups(0, nullptr) != 0 || ::setresgid(options.uid, options.uid, options.uid) != 0 ||
        ::setresuid(options.uid, options.uid, options.uid) != 0) {
      ::_exit(122);
    }
    // setuid has made this process undumpable; the exec below makes it dumpable again.
  }
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

// What was built, unless the environment names something else.
std::string variable_or(const char* name, const char* built) {
  const char* value = ::getenv(name);
  return value != nullptr ? value : built;
}

}  // namespace

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  if (!file.flush()) fail("write " + path);
}

bool file_contains(const std::string& path, const std::string& text) {
  return read_file(path).find(text) != std::string::npos;
}

TemporaryDirectory::TemporaryDirectory() {
  path_ = (std::filesystem::temp_directory_path() / "stillpoint-e2e-XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) fail("mkdtemp");
  if (::chmod(path_.c_str(), 0777) != 0) fail("chmod " + path_);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

RunningProgram::RunningProgram(std::vector<std::string> arguments, const StartOptions& options) {
  pid_ = ::fork();
  if (pid_ < 0) fail("fork");
  if (pid_ == 0) become(arguments, options);
}

RunningProgram::RunningProgram(RunningProgram&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), status_(other.status_), over_(other.over_) {}

RunningProgram::~RunningProgram() {
  if (pid_ > 0) kill_and_wait();
}

bool RunningProgram::running() {
  if (over_) return false;
  const pid_t ended = ::waitpid(pid_, &status_, WNOHANG);
  if (ended == pid_) over_ = true;
  return !over_;
}

void RunningProgram::signal(int number) const { ::kill(pid_, number); }

int RunningProgram::wait(std::chrono::milliseconds patience) {
  if (!eventually([&] { return !running(); }, patience)) return -1;
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

void RunningProgram::kill_and_wait() {
  if (over_ || pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  over_ = true;
}

Outcome run(std::vector<std::string> arguments, StartOptions options) {
  const TemporaryDirectory directory;
  if (options.output.empty()) options.output = directory / "output";
  write_file(options.output, "");
  if (::chmod(options.output.c_str(), 0666) != 0) fail("chmod " + options.output);
  RunningProgram program(std::move(arguments), options);
  Outcome outcome;
  outcome.exit_code = program.wait();
  outcome.output = read_file(options.output);
  return outcome;
}

std::string stillpoint_command() { return variable_or("STILLPOINT_TEST_COMMAND", STILLPOINT_BUILT_COMMAND); }

std::string built_program(const std::string& name) {
  return variable_or("STILLPOINT_TEST_PROGRAMS", STILLPOINT_BUILT_PROGRAMS) + "/" + name;
}

bool is_root() { return ::geteuid() == 0; }

}  // namespace stillpoint::e2e
