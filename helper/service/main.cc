// stillpoint-helper: reads and rebuilds other processes for the SDK and for the tools.
#include <fcntl.h>
#include <signal.h>
#include <stillpoint/version.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "helper/base/unique_fd.h"
#include "helper/service/listener.h"
#include "helper/service/server.h"

namespace {

constexpr char kHelp[] =
    R"(stillpoint-helper: freezes a program, writes its state as an image, and rebuilds it.

Started by the Stillpoint SDK and by the `stillpoint` command; not for direct use.

  stillpoint-helper --fd N                      serve the one request that comes on socket N, and end
  stillpoint-helper --listen PATH [--group G]   be a service on the socket PATH, for members of group G only
  stillpoint-helper --version
  stillpoint-helper --help

Exit status: 0 the request was answered (a refusal is an answer), 1 it could not be, 2 wrong usage.
)";

constexpr int kUsageError = 2;

struct Arguments {
  int fd = -1;
  stillpoint::ListenerOptions listener;
  bool help = false, version = false;
};

bool parse_number(std::string_view text, int& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number >= 0;
}

// False, with a line on standard error, when they make no sense.
bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const char* const value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (argument == "--help") {
      arguments.help = true;
    } else if (argument == "--version") {
      arguments.version = true;
    } else if (argument == "--fd" && value != nullptr && parse_number(value, arguments.fd)) {
      ++i;
    } else if (argument == "--listen" && value != nullptr) {
      arguments.listener.path = argv[++i];
    } else if (argument == "--group" && value != nullptr) {
      arguments.listener.group = argv[++i];
    } else {
      std::fprintf(stderr, "stillpoint-helper: what is '%s'? See --help.\n", argv[i]);
      return false;
    }
  }
  const int modes = (arguments.fd >= 0 ? 1 : 0) + (arguments.listener.path.empty() ? 0 : 1);
  if (!arguments.help && !arguments.version && modes != 1) {
    std::fputs("stillpoint-helper: one of --fd and --listen is needed. See --help.\n", stderr);
    return false;
  }
  return true;
}

// Files opened later must not become standard output.
bool standard_fds_are_open() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    if (::open("/dev/null", O_RDWR) != fd) return false;
  }
  return true;
}

// A signal in the middle would leave a dump half done: what has been begun is finished. SIGPIPE and SIGXFSZ become
// errors of the calls that cause them.
void block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ, SIGCHLD})
    sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
}

// The application's limits came along; they were not meant for writing images.
void raise_limits() {
  for (const auto resource : {RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_AS, RLIMIT_DATA}) {
    rlimit limit{};
    if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == limit.rlim_max) continue;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(resource, &limit);
  }
}

int fail(const absl::Status& status) {
  std::fprintf(stderr, "stillpoint-helper: %s\n", status.ToString().c_str());
  return 1;
}

int listen(const stillpoint::ListenerOptions& options) {
  absl::StatusOr<stillpoint::Listener> listener = stillpoint::Listener::bind(options);
  if (!listener.ok()) return fail(listener.status());
  const absl::Status status = listener->run();
  return status.ok() ? 0 : fail(status);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!standard_fds_are_open()) return 1;
  if (!parse(argc, argv, arguments)) return kUsageError;
  if (arguments.help) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (arguments.version) {
    std::puts("stillpoint-helper " STILLPOINT_VERSION_STRING);
    return 0;
  }
  block_signals();
  raise_limits();
  if (!arguments.listener.path.empty()) return listen(arguments.listener);
  const absl::Status status = stillpoint::serve(stillpoint::UniqueFd(arguments.fd), {});
  return status.ok() ? 0 : fail(status);
}
