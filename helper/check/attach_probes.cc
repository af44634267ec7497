#include <linux/kcmp.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/check/probes.h"
#include "helper/procfs/process_files.h"
#include "helper/tracee/thread.h"

namespace stillpoint::check {
namespace {

constexpr absl::Duration kStopDeadline = absl::Seconds(10);
constexpr uint64_t kPattern = 0x5354494c4c504e54;

// The same address in this process and in every child forked from it.
volatile uint64_t pattern = kPattern;

// Runs `probe` in a process that is the target's sibling, as the helper is to the programs it attaches to: Yama lets
// an ancestor do more.
Probe beside_target(Target::Permission permission, const std::function<Probe(pid_t)>& probe) {
  const Target target(permission);
  if (target.pid() < 0) return failed("fork");
  return in_child([&] { return probe(target.pid()); });
}

absl::Status stop_and_release(pid_t pid) {
  ASSIGN_OR_RETURN(Thread thread, Thread::seize(pid));
  RETURN_IF_ERROR(thread.interrupt());
  RETURN_IF_ERROR(thread.wait_stopped(absl::Now() + kStopDeadline));
  RETURN_IF_ERROR(thread.registers().status());
  return thread.detach();
}

std::string yama_scope() {
  const absl::StatusOr<std::string> scope = procfs::read_text("/proc/sys/kernel/yama/ptrace_scope");
  return scope.ok() ? absl::StrCat("Yama ptrace_scope ", absl::StripTrailingAsciiWhitespace(*scope)) : "no Yama";
}

Probe probe_ptrace(Target::Permission permission) {
  Probe probe = beside_target(permission, [](pid_t pid) { return from_status(stop_and_release(pid)); });
  probe.detail = probe.available ? yama_scope() : absl::StrCat(probe.detail, "; ", yama_scope());
  return probe;
}

absl::Status ask_rseq(pid_t pid) {
  ASSIGN_OR_RETURN(Thread thread, Thread::seize(pid));
  RETURN_IF_ERROR(thread.interrupt());
  RETURN_IF_ERROR(thread.wait_stopped(absl::Now() + kStopDeadline));
  RETURN_IF_ERROR(thread.rseq().status());
  return thread.detach();
}

Probe duplicate_descriptor(pid_t pid) {
  const UniqueFd pidfd(sys_pidfd_open(pid, 0));
  if (!pidfd.valid()) return failed("pidfd_open");
  const absl::StatusOr<std::vector<int>> fds = procfs::read_fds(pid);
  if (!fds.ok()) return no(std::string(fds.status().message()));
  // A process with no descriptor at all answers the question of permission with EBADF.
  const int number = fds->empty() ? 0 : fds->front();
  const UniqueFd copy(sys_pidfd_getfd(pidfd.get(), number, 0));
  if (copy.valid() || (fds->empty() && errno == EBADF)) return yes();
  return failed("pidfd_getfd");
}

Probe read_pattern(pid_t pid) {
  uint64_t value = 0;
  const iovec local = {&value, sizeof(value)};
  const iovec remote = {const_cast<uint64_t*>(&pattern), sizeof(pattern)};
  if (::process_vm_readv(pid, &local, 1, &remote, 1, 0) != static_cast<ssize_t>(sizeof(value))) {
    return failed("process_vm_readv");
  }
  return value == kPattern ? yes() : no("process_vm_readv read something else");
}

}  // namespace

Probe probe_ptrace_sdk() { return probe_ptrace(Target::Permission::kParentAndItsChildren); }

Probe probe_ptrace_any() { return probe_ptrace(Target::Permission::kNone); }

Probe probe_ptrace_rseq() {
  return beside_target(Target::Permission::kParentAndItsChildren, [](pid_t pid) { return from_status(ask_rseq(pid)); });
}

Probe probe_pidfd_getfd() { return beside_target(Target::Permission::kParentAndItsChildren, &duplicate_descriptor); }

Probe probe_kcmp() {
  return beside_target(Target::Permission::kParentAndItsChildren, [](pid_t pid) {
    return sys_kcmp(::getpid(), pid, KCMP_VM, 0, 0) >= 0 ? yes() : failed("kcmp");
  });
}

Probe probe_process_vm_readv() { return beside_target(Target::Permission::kParentAndItsChildren, &read_pattern); }

}  // namespace stillpoint::check
