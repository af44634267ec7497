// sdk_ticker FINISH DIR: as ticker, with the SDK. It takes a checkpoint into DIR when a tool asks, and when there is a
// file FINISH.checkpoint, whose text may name the stage at which the helper is to die or to stop ("stop frozen"), or
// limit the size of files ("fsize 65536"). What came of it is appended to FINISH.report.
#include <stillpoint/checkpointer.h>
#include <sys/resource.h>

#include "tests/e2e/programs/ticker_control.h"
#include "tests/e2e/programs/ticker_work.h"

using namespace stillpoint::e2e;

namespace {

void report(const std::string& path, const std::string& line) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) ::_exit(115);
  put(fd, line + "\n");
  ::close(fd);
}

void prepare(const std::string& order) {
  if (order.rfind("fsize ", 0) == 0) {
    const rlim_t size = static_cast<rlim_t>(std::atoll(order.c_str() + 6));
    const rlimit limit = {size, size};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(114);
    return;
  }
  for (const char* variable : {"STILLPOINT_DIE_AT", "STILLPOINT_STOP_AT", "STILLPOINT_PAUSE_LIMIT_MS"})
    ::unsetenv(variable);
  if (order.rfind("stop ", 0) == 0) {
    ::setenv("STILLPOINT_STOP_AT", order.c_str() + 5, 1);
    ::setenv("STILLPOINT_PAUSE_LIMIT_MS", "1500", 1);
  } else if (!order.empty()) {
    ::setenv("STILLPOINT_DIE_AT", order.c_str(), 1);
  }
}

std::string describe(const stillpoint::Result<stillpoint::CheckpointResult>& result) {
  if (!result.ok()) return "error " + result.status().message();
  if (result->outcome == stillpoint::Outcome::kRestored) {
    return std::string("restored") + (result->in_namespace ? " in a namespace" : "");
  }
  return "resumed " + result->image_path;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 117;
  const std::string finish_file = argv[1], order_file = finish_file + ".checkpoint",
                    report_file = finish_file + ".report";
  stillpoint::CheckpointerOptions options;
  options.directory = argv[2];
  stillpoint::Checkpointer checkpointer(options);
  ::signal(SIGXFSZ, SIG_IGN);

  std::string finish, order;
  int ticks = 0;
  uint64_t hash = 0;
  {
    TickerWork work;
    do {
      if (ticks == kMostTicks) return 113;
      hash = work.tick();
      put(STDOUT_FILENO, ticker_line("tick", ++ticks, hash));
      ::usleep(2000);
      if (read_control(order_file, order) && ::unlink(order_file.c_str()) == 0) {
        prepare(order);
        report(report_file, describe(checkpointer.checkpoint()));
      } else if (const auto polled = checkpointer.poll(); !polled.ok()) {
        report(report_file, "poll: " + polled.status().message());
      } else if (*polled == stillpoint::Poll::kRestored) {
        report(report_file, "restored at poll");
      }
    } while (!read_control(finish_file, finish));
  }
  put(STDOUT_FILENO, ticker_line("done", ticks, hash));
  return end_as_told(finish);
}
