// pidfds of processes and threads of the image: opened by the new process itself, since there is nothing to open
// before it exists.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/fdinfo.h"
#include "helper/resources/kinds.h"
#include "helper/resources/pidfd.pb.h"
#include "helper/resources/process_fd.h"

namespace stillpoint {
namespace {

using resources::PidfdDetail;

// PIDFD_NONBLOCK is O_NONBLOCK; PIDFD_THREAD (6.9) is O_EXCL. Both show in F_GETFL as they were given.
constexpr uint32_t kPidfdThread = O_EXCL;
constexpr uint32_t kPidfdFlags = O_NONBLOCK | kPidfdThread;

bool is_thread_of(pid_t pid, int64_t tid) {
  return ::access(absl::StrCat("/proc/", pid, "/task/", tid).c_str(), F_OK) == 0;
}

// The task in the innermost namespace that /proc knows of: how the process itself calls it.
absl::StatusOr<int32_t> inner_pid(const OpenFileView& file) {
  ASSIGN_OR_RETURN(const std::string line, fdinfo_value(file, "NSpid"));
  const std::vector<absl::string_view> pids = absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  uint64_t pid = 0;
  if (pids.empty() || !parse_unsigned(pids.back(), 10, pid) || pid == 0 || pid > INT32_MAX) {
    return malformed_fdinfo(file, absl::StrCat("NSpid: ", line));
  }
  return static_cast<int32_t>(pid);
}

class PidfdKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "pidfd"; }
  // pidfs (6.9) gave pidfds an inode each; the link stayed or became "pidfd:[inode]" by configuration.
  bool claims(const OpenFileView& file) const override {
    return file.link == "anon_inode:[pidfd]" || absl::StartsWith(file.link, "pidfd:[");
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext& context, Findings& findings) const override {
    audit_process_fd(file, findings);
    const absl::StatusOr<int64_t> pid = fdinfo_signed(file, "Pid");
    if (pid.ok() && *pid > 0 && *pid <= INT32_MAX &&
        (context.in_tree(static_cast<pid_t>(*pid)) || is_thread_of(file.pid, *pid))) {
      return;
    }
    const std::string whose = !pid.ok()  ? std::string(pid.status().message())
                              : *pid > 0 ? absl::StrCat("it stands for pid ", *pid, ", which is not part of the image")
                              : *pid == -1 ? std::string("it stands for a process that has ended")
                                           : std::string("it stands for a process of another pid namespace");
    findings.add({"SP-PIDFD", describe(file), whose,
                  "close it in a stillpoint::on_pre_dump hook and open it again in stillpoint::on_post_resume and, "
                  "where that process is there, in stillpoint::on_post_restore"});
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext& context, model::OpenFile& out) const override {
    PidfdDetail detail;
    ASSIGN_OR_RETURN(const int32_t pid, inner_pid(file));
    detail.set_pid(pid);
    ASSIGN_OR_RETURN(*detail.mutable_placed(), process_fd_places(file, context));
    RETURN_IF_ERROR(store_detail(detail, file, out));
    out.set_description(absl::StrCat(describe(file), " of pid ", pid));
    return absl::OkStatus();
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const PidfdDetail detail, parse_detail<PidfdDetail>(file));
    if (detail.pid() <= 0) return damaged_detail(file, "not a pid");
    RETURN_IF_ERROR(check_places(file, detail.placed()));
    place_in_process({.number = SYS_pidfd_open,
                      .arguments = {static_cast<uint64_t>(detail.pid()), file.flags() & kPidfdFlags},
                      .data_argument = -1,
                      .data = {},
                      .what = absl::StrCat("pidfd_open of ", file.description())},
                     detail.placed(), context);
    return open_placeholder();
  }
};

}  // namespace

const OpenFileKind& pidfd_kind() {
  static const auto& kind = *new PidfdKind;
  return kind;
}

}  // namespace stillpoint
