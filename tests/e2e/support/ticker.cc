#include "tests/e2e/support/ticker.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "tests/e2e/programs/ticker_work.h"

namespace stillpoint::e2e {
namespace {

void make_file_for_all(const std::string& path) {
  write_file(path, "");
  if (::chmod(path.c_str(), 0666) != 0) throw std::runtime_error("chmod " + path);
}

// At once, so that nobody reads half of it.
void place_file(const std::string& path, const std::string& text) {
  write_file(path + ".new", text);
  if (::chmod((path + ".new").c_str(), 0666) != 0 || ::rename((path + ".new").c_str(), path.c_str()) != 0) {
    throw std::runtime_error("rename to " + path);
  }
}

size_t lines_in(const std::string& text) { return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')); }

std::string last_line(const std::string& text) {
  if (text.empty()) return "";
  const size_t end = text.size() - (text.back() == '\n' ? 1 : 0);
  const size_t before = end == 0 ? std::string::npos : text.rfind('\n', end - 1);
  const size_t begin = before == std::string::npos ? 0 : before + 1;
  return text.substr(begin, end - begin);
}

}  // namespace

std::string expected_ticker_output(int ticks) {
  TickerWork work;
  std::string text;
  uint64_t hash = 0;
  for (int tick = 1; tick <= ticks; ++tick) {
    hash = work.tick();
    text += ticker_line("tick", tick, hash);
  }
  return text + ticker_line("done", ticks, hash);
}

TickerJob::TickerJob(Kind kind, uid_t uid) : kind_(kind), uid_(uid) {
  for (const char* name : {"output", "said", "report"}) make_file_for_all(directory_ / name);
  // The SDK ticker appends to FINISH.report.
  if (::symlink((directory_ / "report").c_str(), (directory_ / "finish.report").c_str()) != 0) {
    throw std::runtime_error("symlink");
  }
}

TickerJob::~TickerJob() {
  // Whatever life is on, and whoever is its parent: its command line names this job's directory, and nobody else's
  // does.
  for (const pid_t pid : processes_naming(directory_.path() + "/")) {
    if (pid != ::getpid()) ::kill(pid, SIGKILL);
  }
}

std::string TickerJob::image(int sequence) const {
  char name[32];
  std::snprintf(name, sizeof name, "ckpt-%08d", sequence);
  return images() + "/" + name;
}

std::vector<std::string> TickerJob::command_line() const {
  if (kind_ == Kind::kPlain) return {built_program("ticker"), path("finish")};
  return {built_program("sdk_ticker"), path("finish"), images()};
}

void TickerJob::start(const std::string& extra_file) {
  std::vector<std::string> arguments = command_line();
  if (!extra_file.empty()) arguments.push_back(extra_file);
  StartOptions options;
  options.output = path("output");
  options.uid = uid_;
  program_ = std::make_unique<RunningProgram>(arguments, options);
  if (!ticks_go_on()) throw std::runtime_error("the program does not run: " + output());
}

int TickerJob::ticks() const { return static_cast<int>(lines_in(output())); }

bool TickerJob::ticks_go_on(int more) {
  const int before = ticks();
  return eventually([&] { return ticks() >= before + more; });
}

Outcome TickerJob::stillpoint(std::vector<std::string> arguments,
                              std::map<std::string, std::string> environment) const {
  arguments.insert(arguments.begin(), stillpoint_command());
  StartOptions options;
  options.environment = std::move(environment);
  options.uid = uid_;
  return run(std::move(arguments), std::move(options));
}

Outcome TickerJob::checkpoint(pid_t pid, std::map<std::string, std::string> environment) const {
  return stillpoint({"checkpoint", "--pid", std::to_string(pid), images()}, std::move(environment));
}

std::string TickerJob::checkpoint_by_itself(const std::string& order) {
  const size_t before = lines_in(report());
  place_file(path("finish.checkpoint"), order);
  if (!eventually([&] { return lines_in(report()) > before; })) return "";
  return last_line(report());
}

pid_t TickerJob::restart(std::vector<std::string> options, const std::string& image, const std::string& directory) {
  std::vector<std::string> arguments = {stillpoint_command(), "restart"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.push_back(image.empty() ? images() : image);
  StartOptions start;
  start.output = path("said");
  start.uid = uid_;
  start.working_directory = directory;
  const size_t before = said().size();
  restarter_ = std::make_unique<RunningProgram>(arguments, start);
  const auto pid = [&] { return restored_pid(said().substr(before)); };
  if (!eventually([&] { return pid() != 0 || !restarter_->running(); })) return 0;
  return pid();
}

void TickerJob::kill_program() { program_->kill_and_wait(); }

int TickerJob::kill_restored(pid_t pid) {
  if (::kill(pid, SIGKILL) != 0) return -2;
  return restarter_->wait();
}

int TickerJob::finish(RunningProgram& last, const std::string& how) {
  place_file(path("finish"), how);
  return last.wait();
}

bool TickerJob::output_is_whole() const {
  const std::string text = output();
  const int lines = static_cast<int>(lines_in(text));
  return lines > 1 && text == expected_ticker_output(lines - 1);
}

pid_t restored_pid(const std::string& said) {
  static const auto& outer = *new std::regex(R"(restored \S+ \(pid \d+ in a pid namespace of its own, (\d+) here)");
  static const auto& same = *new std::regex(R"(restored \S+ \(pid (\d+),)");
  std::smatch match;
  if (said.find('\n') == std::string::npos) return 0;
  if (!std::regex_search(said, match, outer) && !std::regex_search(said, match, same)) return 0;
  return static_cast<pid_t>(std::atoi(match[1].str().c_str()));
}

std::vector<pid_t> processes_naming(const std::string& text) {
  std::vector<pid_t> found;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    const int pid = std::atoi(entry.path().filename().c_str());
    if (pid > 0 && file_contains(entry.path() / "cmdline", text)) found.push_back(pid);
  }
  return found;
}

OrphanWatch::OrphanWatch() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) throw std::runtime_error("prctl(PR_SET_CHILD_SUBREAPER)");
}

std::string OrphanWatch::left_over() {
  const bool none = eventually([] {
    pid_t ended;
    while ((ended = ::waitpid(-1, nullptr, WNOHANG | __WALL)) > 0) {
    }
    return ended < 0 && errno == ECHILD;
  });
  if (none) return "";
  const std::string self = "/proc/" + std::to_string(::getpid()) + "/task/" + std::to_string(::getpid()) + "/children";
  std::istringstream children(read_file(self));
  std::string found = "processes left:";
  for (std::string pid; children >> pid;) found += " " + pid + " " + read_file("/proc/" + pid + "/comm");
  return found;
}

}  // namespace stillpoint::e2e
