#include "helper/resources/process_audit.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/unique_fd.h"
#include "helper/resources/mapping_audit.h"
#include "helper/resources/printable.h"

namespace stillpoint {
namespace {

std::string process_name(pid_t pid) {
  const absl::StatusOr<procfs::Stat> stat = procfs::read_stat(pid);
  if (!stat.ok()) return absl::StrCat("pid ", pid);
  return absl::StrCat("pid ", pid, " (", printable(stat->comm), stat->state == 'Z' ? ", ended, not waited for" : "",
                      ")");
}

Finding unreadable(pid_t pid, const absl::Status& why) {
  return {"SP-UNREADABLE", process_name(pid), absl::StrCat("the kernel does not tell: ", why.message()),
          "run the helper as the same user, let the program stay dumpable (PR_SET_DUMPABLE), or give the helper the "
          "capability cap_sys_ptrace"};
}

// How many seccomp filters a task is under; "" where the kernel does not say.
std::string filter_count(pid_t pid, pid_t tid) {
  const absl::StatusOr<std::string> status = procfs::read_text(absl::StrCat("/proc/", pid, "/task/", tid, "/status"));
  if (!status.ok()) return "";
  for (const absl::string_view line : absl::StrSplit(*status, '\n')) {
    if (absl::StartsWith(line, "Seccomp_filters:")) return std::string(line);
  }
  return "";
}

// A container's filter, which the helper is under as well, comes back by itself: the helper starts the restored
// process.
bool under_our_filter(pid_t pid, pid_t tid) {
  const absl::StatusOr<procfs::TaskStatus> own = procfs::read_status(::getpid(), ::getpid());
  const std::string filters = filter_count(::getpid(), ::getpid());
  return own.ok() && own->seccomp == 2 && !filters.empty() && filters == filter_count(pid, tid);
}

void audit_seccomp(pid_t pid, const procfs::TaskStatus& task, Findings& findings) {
  if (task.seccomp == 0 || (task.seccomp == 2 && under_our_filter(pid, task.pid))) return;
  findings.add({"SP-SECCOMP", absl::StrCat("thread ", task.pid, " (", printable(task.name), ")"),
                task.seccomp == 1 ? "it is in seccomp strict mode" : "it is under a seccomp filter of its own",
                "checkpoint before the program installs its filter; or run the program, and stillpoint, without it"});
}

void audit_shadow_stack(const procfs::TaskStatus& task, Findings& findings) {
  if (!absl::StrContains(task.x86_thread_features, "shstk")) return;
  findings.add({"SP-SHADOW-STACK", absl::StrCat("thread ", task.pid, " (", printable(task.name), ")"),
                "it has a shadow stack, which cannot be restored yet",
                "start the program without shadow stacks: GLIBC_TUNABLES=glibc.cpu.x86_shstk=off"});
}

void audit_threads(pid_t pid, Findings& findings) {
  const absl::StatusOr<std::vector<pid_t>> tids = procfs::read_tids(pid);
  if (!tids.ok()) return findings.add(unreadable(pid, tids.status()));
  for (const pid_t tid : *tids) {
    const absl::StatusOr<procfs::TaskStatus> task = procfs::read_status(pid, tid);
    if (!task.ok()) {
      findings.add(unreadable(pid, task.status()));
      continue;
    }
    audit_seccomp(pid, *task, findings);
    audit_shadow_stack(*task, findings);
    if (task->core_dumping != 0 && tid == pid) {
      findings.add({"SP-CORE-DUMP", process_name(pid), "it is dying: the kernel is writing its core file",
                    "restart it from its last image: stillpoint restart DIR"});
    }
  }
}

void audit_word_size(pid_t pid, Findings& findings) {
  const std::string path = absl::StrCat("/proc/", pid, "/exe");
  const UniqueFd executable(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, EI_NIDENT> header = {};
  if (!executable.valid() || !pread_all(executable.get(), header.data(), header.size(), 0, path).ok()) return;
  if (header[EI_CLASS] != ELFCLASS32) return;
  findings.add({"SP-32BIT", process_name(pid), "it is a 32-bit program, which this release does not save",
                "use a 64-bit build of the program"});
}

void audit_namespaces(pid_t pid, Findings& findings) {
  for (const auto& [kind, flag] : procfs::kNamespaceKinds) {
    const absl::StatusOr<uint64_t> own = procfs::read_namespace_inode(::getpid(), kind);
    if (!own.ok()) continue;  // a kernel without that kind
    const absl::StatusOr<uint64_t> its = procfs::read_namespace_inode(pid, kind);
    if (!its.ok()) {
      findings.add(unreadable(pid, its.status()));
      return;  // the others would say the same
    }
    if (*its == *own) continue;
    findings.add({"SP-NAMESPACE", process_name(pid),
                  absl::StrCat("it is in another ", kind, " namespace (", *its, ") than the helper (", *own, ")"),
                  "start stillpoint inside the same container or namespace as the program (nsenter, docker exec)"});
  }
}

void audit_root(pid_t pid, Findings& findings) {
  struct stat own = {}, its = {};
  const std::string path = absl::StrCat("/proc/", pid, "/root/");
  if (::stat("/", &own) != 0) return;
  if (::stat(path.c_str(), &its) != 0) {
    return findings.add(unreadable(pid, errno_status(errno, absl::StrCat("stat of ", path))));
  }
  if (own.st_dev == its.st_dev && own.st_ino == its.st_ino) return;
  const absl::StatusOr<std::string> root = procfs::read_link(absl::StrCat("/proc/", pid, "/root"));
  findings.add({"SP-CHROOT", process_name(pid),
                absl::StrCat("its root directory is ", root.ok() ? printable(*root) : "not the helper's"),
                "start stillpoint inside the same root (chroot), or run the program without one"});
}

struct SharedTable {
  int kind;  // KCMP_*
  const char* code;
  const char* what;
};
constexpr SharedTable kSharedTables[] = {
    {KCMP_VM, "SP-SHARED-ADDRESS-SPACE", "address space"},
    {KCMP_FILES, "SP-SHARED-FILE-TABLE", "file descriptors"},
    {KCMP_FS, "SP-SHARED-DIRECTORY", "working directory, root and umask"},
    {KCMP_SIGHAND, "SP-SHARED-HANDLERS", "signal handlers"},
};

// What clone(2) shares between processes that are not threads of each other.
void audit_shared_tables(pid_t pid, pid_t other, Findings& findings) {
  if (other <= 0 || other == pid) return;
  for (const SharedTable& table : kSharedTables) {
    if (sys_kcmp(pid, other, table.kind, 0, 0) != 0) continue;
    findings.add({table.code, process_name(pid),
                  absl::StrCat("it shares its ", table.what, " with ", process_name(other),
                               ", which is not one of its threads (clone(2), vfork(2))"),
                  "checkpoint when the other process has ended or has executed another program"});
  }
}

void audit_family(pid_t pid, Findings& findings) {
  if (const absl::StatusOr<procfs::Stat> stat = procfs::read_stat(pid); stat.ok()) {
    audit_shared_tables(pid, stat->parent_pid, findings);
  }
}

}  // namespace

void audit_process(pid_t pid, pid_t tid, const std::vector<procfs::Mapping>& mappings, Findings& findings) {
  audit_threads(pid, findings);
  audit_word_size(tid, findings);
  audit_namespaces(tid, findings);
  audit_root(tid, findings);
  audit_family(tid, findings);
  audit_mappings(pid, mappings, findings);
}

}  // namespace stillpoint
