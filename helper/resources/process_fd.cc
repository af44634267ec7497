#include "helper/resources/process_fd.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/fdinfo.h"

namespace stillpoint {

using ProcessCall = OpenFileRestoreContext::ProcessCall;

absl::StatusOr<std::vector<ProcessFdNumber>> process_fd_numbers(const OpenFileView& file) {
  std::vector<ProcessFdNumber> numbers;
  for (const int number : file.numbers) {
    OpenFileView same = file;
    if (number != file.number) {
      ASSIGN_OR_RETURN(same.fdinfo, procfs::read_text(absl::StrCat("/proc/", file.pid, "/fdinfo/", number)));
    }
    ASSIGN_OR_RETURN(const uint64_t flags, fdinfo_unsigned(same, "flags", 8));
    numbers.push_back({number, (flags & O_CLOEXEC) != 0});
  }
  return numbers;
}

absl::StatusOr<UniqueFd> open_placeholder() {
  UniqueFd fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return errno_status(errno, "open /dev/null");
  return fd;
}

void place_in_process(ProcessCall open, const std::vector<ProcessFdNumber>& numbers, OpenFileRestoreContext& context) {
  const std::string what = open.what;
  context.in_process(std::move(open));
  int distance = 0;
  for (const ProcessFdNumber& place : numbers) {
    const uint64_t flags = place.close_on_exec ? O_CLOEXEC : 0;
    context.in_process({.number = SYS_dup3,
                        .arguments = {~uint64_t{0}, static_cast<uint64_t>(place.number), flags},
                        .data_argument = -1,
                        .data = {},
                        .what = absl::StrCat("dup3 to fd ", place.number, " of ", what),
                        .result_argument = 0,
                        .result_distance = ++distance});
  }
  context.in_process({.number = SYS_close,
                      .arguments = {~uint64_t{0}},
                      .data_argument = -1,
                      .data = {},
                      .what = absl::StrCat("close of ", what),
                      .result_argument = 0,
                      .result_distance = ++distance});
}

}  // namespace stillpoint
