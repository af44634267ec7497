#include "helper/tracee/refused_attach.h"

#include <unistd.h>

#include <cerrno>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

constexpr uint64_t kKernelThread = 0x00200000;  // linux/sched.h: PF_KTHREAD

bool yama_restricts() {
  const absl::StatusOr<std::string> text = procfs::read_text("/proc/sys/kernel/yama/ptrace_scope");
  int scope = 0;
  return text.ok() && absl::SimpleAtoi(*text, &scope) && scope > 0;
}

absl::Status traced_by(pid_t tid, pid_t tracer_pid) {
  const absl::StatusOr<procfs::Stat> tracer = procfs::read_stat(tracer_pid);
  const std::string name = tracer.ok() ? tracer->comm : "unknown";
  return absl::FailedPreconditionError(absl::StrCat("tid ", tid, " is traced already by pid ", tracer_pid, " (", name,
                                                    "), and only one can trace: let it detach or end first"));
}

// What else the kernel may have against it, most telling first.
std::string reason(const procfs::TaskStatus& status) {
  const uid_t own = ::geteuid();
  if (own != 0 && (status.uid != own || status.euid != own || status.suid != own)) {
    return absl::StrCat("its user id is ", status.uid != own ? status.uid : status.euid, ", ours is ", own,
                        ": run this as root");
  }
  if (yama_restricts()) {
    return "Yama (kernel.yama.ptrace_scope) allows it for descendants only: start the program under `stillpoint run`, "
           "run this as root, give stillpoint-helper cap_sys_ptrace, or set kernel.yama.ptrace_scope to 0";
  }
  return "the program is not dumpable (it was set-user-id, has capabilities that we lack, or called "
         "prctl(PR_SET_DUMPABLE, 0)), or a security module forbids it: run this as root, or give stillpoint-helper "
         "cap_sys_ptrace";
}

}  // namespace

absl::Status refused_attach(pid_t tid, int error) {
  const std::string call = absl::StrCat("ptrace(PTRACE_SEIZE) of tid ", tid);
  if (error != EPERM) return errno_status(error, call);
  const absl::StatusOr<procfs::TaskStatus> status = procfs::read_status(tid, tid);
  if (!status.ok()) return errno_status(error, call);  // dead by now, or not to be seen
  if (status->tracer_pid != 0) return traced_by(tid, status->tracer_pid);
  if (const auto stat = procfs::read_stat(tid); stat.ok() && (stat->flags & kKernelThread) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("pid ", tid, " is a kernel thread (", stat->comm, "); only programs can be checkpointed"));
  }
  if (status->state == 'Z' || status->state == 'X') return errno_status(error, call);
  const absl::Status plain = errno_status(error, call);
  return absl::Status(plain.code(), absl::StrCat(plain.message(), "; ", reason(*status)));
}

}  // namespace stillpoint
