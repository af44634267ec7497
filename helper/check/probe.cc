#include "helper/check/probe.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"

namespace stillpoint::check {
namespace {

constexpr unsigned kProbeSeconds = 20;
constexpr size_t kLongestAnswer = 4096;

void reap(pid_t pid) {
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// Common to every forked child: it dies with its parent, and looks like the ordinary, dumpable program that a user
// runs, also when this process became non-dumpable by changing its ids.
void settle_child(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Died already? The init of a new pid namespace cannot tell: its parent is outside, and 0.
  const pid_t parent_now = ::getppid();
  if (parent_now != parent && parent_now != 0) ::_exit(1);
  ::prctl(PR_SET_DUMPABLE, 1);
}

// Ends the child should its probe block, whatever the caller did about SIGALRM.
void set_deadline() {
  ::signal(SIGALRM, SIG_DFL);
  sigset_t alarm_only;
  ::sigemptyset(&alarm_only);
  ::sigaddset(&alarm_only, SIGALRM);
  ::sigprocmask(SIG_UNBLOCK, &alarm_only, nullptr);
  ::signal(SIGCHLD, SIG_DFL);
  ::alarm(kProbeSeconds);
}

std::string read_answer(int fd) {
  std::string answer(kLongestAnswer, '\0');
  size_t used = 0;
  while (used < answer.size()) {
    const ssize_t n = ::read(fd, answer.data() + used, answer.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    used += static_cast<size_t>(n);
  }
  answer.resize(used);
  return answer;
}

bool make_pipe(UniqueFd& reader, UniqueFd& writer) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  reader.reset(ends[0]);
  writer.reset(ends[1]);
  return true;
}

}  // namespace

Probe failed(const std::string& call) { return no(absl::StrCat(call, ": ", errno_name(errno))); }

Probe from_status(const absl::Status& status) { return status.ok() ? yes() : no(std::string(status.message())); }

Probe in_child(const std::function<Probe()>& body) {
  UniqueFd reader;
  UniqueFd writer;
  if (!make_pipe(reader, writer)) return failed("pipe2");
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return failed("fork");
  if (pid == 0) {
    settle_child(parent);
    set_deadline();
    const Probe probe = body();
    const std::string answer = absl::StrCat(probe.available ? "y" : "n", probe.detail);
    const absl::Status written = write_all(writer.get(), absl::string_view(answer).substr(0, kLongestAnswer), "pipe");
    ::_exit(written.ok() ? 0 : 1);
  }
  writer.reset();
  const std::string answer = read_answer(reader.get());
  reap(pid);
  if (answer.empty()) return no("the probe died of it");
  return {answer.front() == 'y', answer.substr(1)};
}

Target::Target(Permission permission) {
  UniqueFd ready;
  UniqueFd target_end;
  if (!make_pipe(ready, target_end)) return;
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    settle_child(parent);
    // EINVAL where Yama is not there: then nothing needs to be permitted.
    if (permission == Permission::kParentAndItsChildren) ::prctl(PR_SET_PTRACER, parent, 0, 0, 0);
    target_end.reset();
    for (;;) ::pause();
  }
  target_end.reset();
  read_answer(ready.get());  // ends when the target has closed its end, or died
}

Target::~Target() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  reap(pid_);
}

}  // namespace stillpoint::check
