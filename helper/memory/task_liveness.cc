#include "helper/memory/task_liveness.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"

#ifndef __WALL
#define __WALL 0x40000000
#endif

namespace stillpoint {
namespace {

constexpr idtype_t kPidfd = static_cast<idtype_t>(3);  // P_PIDFD

std::string describe_signal(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? absl::StrCat("signal ", signal, ", SIG", name) : absl::StrCat("signal ", signal);
}

// Signals the kernel forces upon a thread even while it blocks them.
bool fatal_when_blocked(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE || signal == SIGSYS ||
         signal == SIGTRAP;
}

// What became of the task; empty while it lives.
std::string fate(const siginfo_t& info) {
  switch (info.si_code) {
    case CLD_EXITED:
      return absl::StrCat("exited (status ", info.si_status, ")");
    case CLD_KILLED:
    case CLD_DUMPED:
      return absl::StrCat("died (", describe_signal(info.si_status), ")");
    case CLD_TRAPPED:
      // A ptrace event stop has the event above the signal.
      if (info.si_status < 0x80 && fatal_when_blocked(info.si_status)) {
        return absl::StrCat("is dying (", describe_signal(info.si_status), ")");
      }
      return "";
    default:
      return "";
  }
}

std::string fate(int pidfd) {
  siginfo_t info = {};
  constexpr int kOptions = WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL;
  if (::waitid(kPidfd, static_cast<id_t>(pidfd), &info, kOptions) == 0 && info.si_pid != 0) {
    if (std::string text = fate(info); !text.empty()) return text;
  }
  pollfd poll_fd = {pidfd, POLLIN, 0};
  if (::poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLIN) != 0) return "is gone";
  return "";
}

}  // namespace

WorkerClient::Liveness liveness_by_pidfd(UniqueFd pidfd, absl::string_view name) {
  auto owned = std::make_shared<UniqueFd>(std::move(pidfd));
  return [owned, name = std::string(name)](absl::string_view doing) -> absl::Status {
    const std::string text = fate(owned->get());
    if (text.empty()) return absl::OkStatus();
    return absl::AbortedError(absl::StrCat("the ", name, " ", text, " while ", doing));
  };
}

}  // namespace stillpoint
