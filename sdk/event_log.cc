#include "sdk/event_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <string>

#include "sdk/last_call.h"

namespace stillpoint::sdk {
namespace {

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  char text[32] = "";
  if (::gmtime_r(&now, &utc) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::string outcome_text(const Settings& settings, stillpoint_code_t code, const stillpoint_result_t& result) {
  switch (result.outcome) {
    case STILLPOINT_OUTCOME_RESUMED: {
      char text[128];
      std::snprintf(text, sizeof text, ": checkpointed, pause %.3f ms, %.1f MiB, ",
                    static_cast<double>(result.pause_ns) / 1e6, static_cast<double>(result.bytes) / (1 << 20));
      return std::string(result.image_path) + text + result.method;
    }
    case STILLPOINT_OUTCOME_RESTORED:
      return std::string(result.image_path) + ": restored";
    default:
      return settings.directory + ": no checkpoint, " + stillpoint_code_name(code);
  }
}

}  // namespace

void log_event(const Settings& settings, stillpoint_code_t code, const stillpoint_result_t& result) {
  if (settings.log.empty()) return;
  std::string line =
      now_text() + " stillpoint pid " + std::to_string(::getpid()) + " " + outcome_text(settings, code, result);
  if (!last_call().error.empty()) line += ": " + last_call().error;
  for (char& c : line) {
    if (c == '\n') c = ' ';
  }
  line += '\n';
  const bool to_stderr = settings.log == "-";
  const int fd =
      to_stderr ? STDERR_FILENO : ::open(settings.log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  // One write: lines of several processes do not mix.
  [[maybe_unused]] const ssize_t written = ::write(fd, line.data(), line.size());
  if (!to_stderr) ::close(fd);
}

}  // namespace stillpoint::sdk
