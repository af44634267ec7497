#include "target_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {

TargetProcess::TargetProcess(std::vector<std::string> arguments) {
  int input[2], output[2];
  if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) std::abort();
  std::vector<char*> argv = {const_cast<char*>(TRACEE_TARGET)};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(input[0], STDIN_FILENO);
    ::dup2(output[1], STDOUT_FILENO);
    ::execv(TRACEE_TARGET, argv.data());
    ::_exit(127);
  }
  input_.reset(input[1]);
  output_.reset(output[0]);
  ::close(input[0]);
  ::close(output[1]);
  const std::string line = read_line();
  if (line != "ready") ADD_FAILURE() << "the target said: " << line;
}

TargetProcess::~TargetProcess() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void TargetProcess::send(char byte) const {
  if (::write(input_.get(), &byte, 1) != 1) ADD_FAILURE() << "write to the target failed";
}

std::string TargetProcess::read_line() {
  std::string line;
  char byte = 0;
  while (::read(output_.get(), &byte, 1) == 1 && byte != '\n') line.push_back(byte);
  return line;
}

std::string TargetProcess::finish() {
  input_.reset();
  std::string text, line;
  while (!(line = read_line()).empty()) text += line + "\n";
  int status = -1;
  EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
  pid_ = 0;
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status << ": " << text;
  EXPECT_FALSE(absl::StrContains(text, "FAIL")) << text;
  return text;
}

ChildProcess::ChildProcess(const std::function<int()>& body) {
  pid_ = ::fork();
  if (pid_ == 0) ::_exit(body());
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) kill_and_wait();
}

int ChildProcess::wait() {
  int status = -1;
  EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
  pid_ = 0;
  return status;
}

int ChildProcess::kill_and_wait() {
  ::kill(pid_, SIGKILL);
  return wait();
}

FrozenProcess freeze_or_die(pid_t pid) {
  absl::StatusOr<FrozenProcess> process = FrozenProcess::freeze(pid, absl::Now() + kPatience);
  if (!process.ok()) {
    std::fprintf(stderr, "freeze: %s\n", process.status().ToString().c_str());
    std::abort();
  }
  return *std::move(process);
}

CodeGadgets gadgets_of(pid_t pid) {
  const auto maps = procfs::read_maps(pid);
  if (!maps.ok()) {
    std::fprintf(stderr, "maps: %s\n", maps.status().ToString().c_str());
    std::abort();
  }
  const auto gadgets = find_gadgets(pid, *maps);
  if (!gadgets.ok()) {
    std::fprintf(stderr, "gadgets: %s\n", gadgets.status().ToString().c_str());
    std::abort();
  }
  return *gadgets;
}

char state_of(pid_t pid, pid_t tid) {
  const auto stat = procfs::read_stat(pid, tid);
  return stat.ok() ? stat->state : '\0';
}

bool eventually(const std::function<bool()>& condition) {
  for (const absl::Time end = absl::Now() + kPatience; absl::Now() < end; absl::SleepFor(absl::Milliseconds(2))) {
    if (condition()) return true;
  }
  return condition();
}

}  // namespace stillpoint
