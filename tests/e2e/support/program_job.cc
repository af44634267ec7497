#include "tests/e2e/support/program_job.h"

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {

ProgramJob::~ProgramJob() { end(); }

void ProgramJob::end() {
  if (life_ != nullptr) kill();
}

void ProgramJob::start(std::vector<std::string> arguments, StartOptions options) {
  options.uid = uid_;
  life_ = std::make_unique<RunningProgram>(std::move(arguments), options);
  pid_ = life_->pid();
}

Outcome ProgramJob::checkpoint(const std::vector<std::string>& options,
                               const std::map<std::string, std::string>& environment) {
  std::vector<std::string> command = {stillpoint_command(), "checkpoint", "--pid", std::to_string(pid_)};
  command.insert(command.end(), options.begin(), options.end());
  command.push_back(images());
  StartOptions start;
  start.environment = environment;
  start.uid = uid_;
  return run(std::move(command), std::move(start));
}

int ProgramJob::kill() {
  if (pid_ > 0 && life_->running()) {
    for (const pid_t pid : family_of(pid_)) ::kill(pid, SIGKILL);
  }
  const int status = life_->wait();
  life_.reset();
  pid_ = 0;
  return status;
}

bool ProgramJob::restart(const std::vector<std::string>& options,
                         const std::map<std::string, std::string>& environment) {
  std::vector<std::string> command = {stillpoint_command(), "restart"};
  command.insert(command.end(), options.begin(), options.end());
  command.push_back(images());
  StartOptions start;
  start.environment = environment;
  start.uid = uid_;
  start.output = path("said");
  write_file(start.output, "");
  life_ = std::make_unique<RunningProgram>(std::move(command), start);
  pid_ = 0;
  eventually([&] {
    pid_ = restored_pid(said());
    return pid_ > 0 || !life_->running();
  });
  if (pid_ == 0) life_->kill_and_wait();
  return pid_ > 0;
}

std::string ProgramJob::round(const std::map<std::string, std::string>& environment,
                              const std::vector<std::string>& restart_options) {
  const Outcome outcome = checkpoint({"--keep", "2"}, environment);
  if (outcome.exit_code != 0) return "checkpoint: " + outcome.output;
  if (const int status = kill(); status != 128 + SIGKILL)
    return "the killed program ended with " + std::to_string(status);
  return restart(restart_options, environment) ? "" : "restart: " + said();
}

std::vector<pid_t> family_of(pid_t root) {
  std::vector<pid_t> family = {root};
  for (size_t i = 0; i < family.size(); ++i) {
    const std::string tasks = "/proc/" + std::to_string(family[i]) + "/task";
    std::error_code gone;
    for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
      std::istringstream children(read_file(task.path() / "children"));
      for (pid_t child = 0; children >> child;) family.push_back(child);
    }
  }
  return family;
}

std::string errors_in(const std::string& report) {
  std::istringstream lines(read_file(report));
  std::string errors, line;
  while (std::getline(lines, line)) {
    if (line.find("ERROR") != std::string::npos) errors += line + "\n";
  }
  return errors;
}

size_t count_lines(const std::string& text) { return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')); }

int rounds(int usual) { return ::getenv("STILLPOINT_QUICK") != nullptr ? std::max(1, usual / 10) : usual; }

}  // namespace stillpoint::e2e
