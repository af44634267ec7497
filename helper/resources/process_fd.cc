#include "helper/resources/process_fd.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/detail.h"
#include "helper/resources/fdinfo.h"

namespace stillpoint {

using resources::ProcessFd;
using ProcessCall = OpenFileRestoreContext::ProcessCall;

namespace {

int lowest_free_number(pid_t pid, const OpenFileDumpContext& context, int below) {
  int number = 0;
  while (number < below && context.open_file_of(pid, number) != 0) ++number;
  return number;
}

ProcessCall call(std::string what, long number, uint64_t first, uint64_t second = 0, uint64_t third = 0) {
  return {
      .number = number, .arguments = {first, second, third}, .data_argument = -1, .data = {}, .what = std::move(what)};
}

}  // namespace

absl::StatusOr<ProcessFd> process_fd_places(const OpenFileView& file, const OpenFileDumpContext& context) {
  ProcessFd placed;
  for (const int number : file.numbers) {
    OpenFileView same = file;
    if (number != file.number) {
      ASSIGN_OR_RETURN(same.fdinfo, procfs::read_text(absl::StrCat("/proc/", file.pid, "/fdinfo/", number)));
    }
    ASSIGN_OR_RETURN(const uint64_t flags, fdinfo_unsigned(same, "flags", 8));
    ProcessFd::Place& place = *placed.add_places();
    place.set_number(number);
    place.set_close_on_exec((flags & O_CLOEXEC) != 0);
  }
  if (placed.places().empty()) return absl::InvalidArgumentError(absl::StrCat(describe(file), " has no number"));
  placed.set_opens_at(lowest_free_number(file.pid, context, placed.places(0).number()));
  return placed;
}

void audit_process_fd(const OpenFileView& file, Findings& findings) {
  if (!file.shared) return;
  findings.add({"SP-PROCESS-FD-SHARED", describe(file),
                "several processes of the tree have this descriptor, which only a process itself can open again",
                "close it in the processes that do not need it (O_CLOEXEC before they are started)"});
}

absl::Status check_places(const model::OpenFile& file, const ProcessFd& placed) {
  if (placed.places().empty()) return damaged_detail(file, "no fd numbers");
  for (const ProcessFd::Place& place : placed.places()) RETURN_IF_ERROR(check_fd_number(file, place.number()));
  return check_fd_number(file, placed.opens_at());
}

absl::StatusOr<UniqueFd> open_placeholder() {
  UniqueFd fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return errno_status(errno, "open /dev/null");
  return fd;
}

// No call of the batch knows another's result, so the number that `open` gets is known beforehand instead. Were it
// another one, the dup3 or F_SETFD that follows would fail: nothing is there.
void place_in_process(ProcessCall open, const ProcessFd& placed, OpenFileRestoreContext& context) {
  const std::string what = open.what;
  const uint64_t first = static_cast<uint64_t>(placed.places(0).number());
  const uint64_t opened = static_cast<uint64_t>(placed.opens_at());
  context.in_process(call(absl::StrCat("close before the ", what), SYS_close, first));
  context.in_process(std::move(open));
  if (opened == first) {
    const uint64_t flags = placed.places(0).close_on_exec() ? FD_CLOEXEC : 0;
    context.in_process(call(absl::StrCat("fcntl(F_SETFD) after the ", what), SYS_fcntl, first, F_SETFD, flags));
  }
  uint64_t from = opened;
  for (const ProcessFd::Place& place : placed.places()) {
    const uint64_t number = static_cast<uint64_t>(place.number());
    const uint64_t flags = place.close_on_exec() ? O_CLOEXEC : 0;
    if (number != from) context.in_process(call(absl::StrCat("dup3 after the ", what), SYS_dup3, from, number, flags));
    from = first;
  }
  if (opened != first) context.in_process(call(absl::StrCat("close after the ", what), SYS_close, opened));
}

}  // namespace stillpoint
