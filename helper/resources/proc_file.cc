// Files and directories of /proc. One that speaks of a process of the image can only be opened once that process
// is there: the process opens it itself, by /proc/self where it is its own. The others are opened by the restorer.
// What was already read of such a file is as old as the checkpoint; what is read next is of the new life.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/fdinfo.h"
#include "helper/resources/kinds.h"
#include "helper/resources/proc_file.pb.h"
#include "helper/resources/process_fd.h"
#include "helper/resources/reopen.h"

namespace stillpoint {
namespace {

using resources::ProcFileDetail;

constexpr absl::string_view kProc = "/proc/";

bool on_proc(const OpenFileView& file) {
  struct statfs filesystem = {};
  const std::string path = absl::StrCat("/proc/", file.pid, "/fd/", file.number);
  return absl::StartsWith(file.link, kProc) && ::statfs(path.c_str(), &filesystem) == 0 &&
         filesystem.f_type == PROC_SUPER_MAGIC;
}

// The process that "/proc/4242/..." speaks of; 0 for "/proc/meminfo".
pid_t subject(absl::string_view path) {
  if (!absl::ConsumePrefix(&path, kProc)) return 0;
  uint64_t pid = 0;
  return parse_unsigned(path.substr(0, path.find('/')), 10, pid) && pid <= INT32_MAX ? static_cast<pid_t>(pid) : 0;
}

// "/proc/self/maps" for "/proc/4242/maps" of process 4242.
std::string as_own(absl::string_view path, pid_t pid) {
  const std::string own = absl::StrCat(kProc, pid);
  return subject(path) == pid ? absl::StrCat("/proc/self", path.substr(own.size())) : std::string(path);
}

void queue_open(const model::OpenFile& file, const ProcFileDetail& detail, OpenFileRestoreContext& context) {
  const uint64_t flags = static_cast<uint64_t>(reopen_flags(file.flags()));
  place_in_process({.number = SYS_openat,
                    .arguments = {static_cast<uint64_t>(AT_FDCWD), 0, flags},
                    .data_argument = 1,
                    .data = detail.path() + '\0',
                    .what = absl::StrCat("open of ", file.description())},
                   detail.placed(), context);
  if (detail.position() == 0) return;
  context.in_process({.number = SYS_lseek,
                      .arguments = {static_cast<uint64_t>(detail.placed().places(0).number()),
                                    static_cast<uint64_t>(detail.position()), SEEK_SET},
                      .data_argument = -1,
                      .data = {},
                      .what = absl::StrCat("lseek of ", file.description())});
}

class ProcFileKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "proc"; }
  bool claims(const OpenFileView& file) const override { return on_proc(file); }

  void audit(const OpenFileView& file, const OpenFileDumpContext& context, Findings& findings) const override {
    const pid_t pid = subject(file.link);
    if (pid != 0) audit_process_fd(file, findings);
    if (pid != 0 && !context.in_tree(pid)) {
      findings.add({"SP-PROC-FOREIGN", describe(file),
                    absl::StrCat("it speaks of pid ", pid, ", which is not part of the image"),
                    "close it in a stillpoint::on_pre_dump hook and open it again in stillpoint::on_post_resume"});
    } else if (absl::EndsWith(file.link, " (deleted)")) {
      findings.add({"SP-PROC-FOREIGN", describe(file), "it speaks of a task that has ended",
                    "close it in a stillpoint::on_pre_dump hook"});
    }
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext& context, model::OpenFile& out) const override {
    ProcFileDetail detail;
    detail.set_path(as_own(file.link, file.pid));
    detail.set_position(file.pos);
    if (subject(file.link) != 0) {
      ASSIGN_OR_RETURN(*detail.mutable_placed(), process_fd_places(file, context));
    }
    return store_detail(detail, file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const ProcFileDetail detail, parse_detail<ProcFileDetail>(file));
    RETURN_IF_ERROR(check_path(file, detail.path()));
    if (!absl::StartsWith(detail.path(), kProc)) return damaged_detail(file, "not a path below /proc");
    if (detail.has_placed()) {
      RETURN_IF_ERROR(check_places(file, detail.placed()));
      queue_open(file, detail, context);
      return open_placeholder();
    }
    absl::StatusOr<UniqueFd> fd = reopen_path(detail.path(), file.flags() | O_NONBLOCK);
    if (!fd.ok()) return with_context(fd.status(), describe(file));
    if (detail.position() != 0) RETURN_IF_ERROR(set_position(fd->get(), detail.position(), describe(file)));
    return fd;
  }
};

}  // namespace

const OpenFileKind& proc_file_kind() {
  static const auto& kind = *new ProcFileKind;
  return kind;
}

}  // namespace stillpoint
