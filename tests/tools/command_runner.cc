#include "tests/tools/command_runner.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace stillpoint::tools {

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "stillpoint-tools-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    ADD_FAILURE() << "mkdtemp of " << pattern << " failed";
    return;
  }
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

std::string file_contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& contents) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << contents;
  ASSERT_TRUE(file.flush()) << path;
}

bool eventually(const std::function<bool()>& reached) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!reached()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

RunningCommand::RunningCommand(const CommandSpec& spec) {
  // Output goes to files: a test never has to drain a pipe, and a command never blocks on one.
  const std::string out = output_ / "out";
  const std::string err = output_ / "err";
  std::vector<char*> argv;
  for (const std::string& argument : spec.arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = ::fork();
  EXPECT_GE(pid_, 0) << "fork failed";
  if (pid_ != 0) return;
  // A shell's job: the kernel ignores SIGTSTP in an orphaned process group, which the test's own may be.
  if (::setpgid(0, 0) != 0) ::_exit(99);
  const int in_fd = ::open("/dev/null", O_RDONLY);
  const int out_fd = ::open(out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int err_fd = ::open(err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (in_fd < 0 || out_fd < 0 || err_fd < 0) ::_exit(99);
  ::dup2(in_fd, 0);
  ::dup2(out_fd, 1);
  ::dup2(err_fd, 2);
  // What the test's own starter has left open is no part of the program.
  if (::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) != 0) ::_exit(99);
  ::unsetenv("STILLPOINT_HELPER");
  for (const auto& [name, value] : spec.environment) ::setenv(name.c_str(), value.c_str(), 1);
  ::execv(argv[0], argv.data());
  ::_exit(98);
}

RunningCommand::~RunningCommand() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void RunningCommand::signal(int signal_number) const { ASSERT_EQ(::kill(pid_, signal_number), 0); }
std::string RunningCommand::out() const { return file_contents(output_ / "out"); }
std::string RunningCommand::err() const { return file_contents(output_ / "err"); }

bool RunningCommand::wait_for_out(const std::string& text) const {
  return eventually([&] { return out().find(text) != std::string::npos; });
}

bool RunningCommand::wait_for_err(const std::string& text) const {
  return eventually([&] { return err().find(text) != std::string::npos; });
}

bool RunningCommand::ended() const {
  siginfo_t info = {};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_;
}

int RunningCommand::finish() {
  int status = -1;
  const bool ended = eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; });
  EXPECT_TRUE(ended) << "the command does not end; stderr: " << err();
  if (!ended) return -1;
  pid_ = -1;
  return status;
}

CommandResult run_command_line(const CommandSpec& spec) {
  RunningCommand command(spec);
  CommandResult result;
  result.status = command.finish();
  if (WIFEXITED(result.status)) result.exit_code = WEXITSTATUS(result.status);
  result.out = command.out();
  result.err = command.err();
  return result;
}

}  // namespace stillpoint::tools
