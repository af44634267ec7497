#include "helper/restore/namespace_init.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/base/socket_fds.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

constexpr size_t kMaxReport = size_t{64} * 1024;

// The standard streams stay, as long as the program runs: to the next checkpoint this is the program's starter, and
// what it holds is what a further restart gives the program anew.
void close_all_but_streams_and(int fd) {
  if (fd > STDERR_FILENO + 1) ::syscall(SYS_close_range, STDERR_FILENO + 1, fd - 1, 0);
  ::syscall(SYS_close_range, std::max(fd, STDERR_FILENO) + 1, ~0u, 0);
}

}  // namespace

// One datagram: status code, then message and notes separated by NUL.
absl::Status send_report(int socket, const InitReport& report) {
  std::string text(1, static_cast<char>(report.status.code()));
  absl::StrAppend(&text, report.status.message(), std::string(1, '\0'), absl::StrJoin(report.notes, "\n"));
  if (text.size() > kMaxReport) text.resize(kMaxReport);
  std::vector<int> fds;
  if (report.pidfd.valid()) fds.push_back(report.pidfd.get());
  if (send_with_fds(socket, text, fds) < 0) return errno_status(errno, "sendmsg of the init's report");
  return absl::OkStatus();
}

absl::StatusOr<InitReport> receive_report(int socket) {
  std::string text(kMaxReport, '\0');
  iovec data = {text.data(), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n;
  do {
    n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno_status(errno, "recvmsg from the namespace's init");
  std::vector<UniqueFd> fds = take_fds(message);
  if (n == 0) return absl::UnavailableError("the init of the new pid namespace died while it restored the process");
  text.resize(static_cast<size_t>(n));
  InitReport report;
  if (!fds.empty()) report.pidfd = std::move(fds.front());
  const std::vector<std::string> parts = absl::StrSplit(text.substr(1), absl::MaxSplits('\0', 1));
  report.status = absl::Status(static_cast<absl::StatusCode>(text[0]), parts[0]);
  if (parts.size() > 1 && !parts[1].empty()) report.notes = absl::StrSplit(parts[1], '\n');
  return report;
}

void run_as_init(pid_t root, UniqueFd status_pipe) {
  close_all_but_streams_and(status_pipe.get());
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, __WALL);
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) ::_exit(0);  // ECHILD: the namespace is empty
    if (pid != root) continue;
    // The reader may be gone; the processes that are left do not care.
    ::signal(SIGPIPE, SIG_IGN);
    const ssize_t written = ::write(status_pipe.get(), &status, sizeof status);
    static_cast<void>(written);
    status_pipe.reset();
    ::syscall(SYS_close_range, STDIN_FILENO, STDERR_FILENO, 0);
  }
}

absl::StatusOr<pid_t> pid_of_pidfd(int pidfd) {
  ASSIGN_OR_RETURN(const std::string text, procfs::read_text(absl::StrCat("/proc/self/fdinfo/", pidfd)));
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    pid_t pid = 0;
    if (absl::ConsumePrefix(&line, "Pid:") && absl::SimpleAtoi(absl::StripAsciiWhitespace(line), &pid)) return pid;
  }
  return absl::DataLossError("fdinfo of a pidfd has no Pid line");
}

}  // namespace stillpoint
