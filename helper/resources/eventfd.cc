// eventfds: the counter, and whether reads take one or all of it (EFD_SEMAPHORE).
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/eventfd.pb.h"
#include "helper/resources/fdinfo.h"
#include "helper/resources/kinds.h"

namespace stillpoint {
namespace {

using resources::EventfdDetail;

constexpr uint64_t kLargestCount = UINT64_MAX - 1;

// Kernels before 6.5 do not show EFD_SEMAPHORE. What a read takes tells it; the program is frozen, and the counter is
// as it was afterwards. A count below two is raised first, since both modes take one from a count of one.
absl::StatusOr<bool> probe_semaphore(const OpenFileView& file, uint64_t count) {
  const uint64_t added = count < 2 ? 2 - count : 0;
  if (added > 0 && ::write(file.fd, &added, sizeof added) != sizeof added) {
    return errno_status(errno, absl::StrCat("write to ", describe(file)));
  }
  uint64_t taken = 0;
  const iovec buffer = {&taken, sizeof taken};
  if (::preadv2(file.fd, &buffer, 1, -1, RWF_NOWAIT) != sizeof taken) {
    return errno_status(errno, absl::StrCat("read of ", describe(file)));
  }
  const bool semaphore = taken == 1;
  // Brings the counter back to `count`: up by what was taken beyond what was added, or down by reading once more.
  if (taken >= added) {
    const uint64_t missing = taken - added;
    if (missing > 0 && ::write(file.fd, &missing, sizeof missing) != sizeof missing) {
      return errno_status(errno, absl::StrCat("write to ", describe(file)));
    }
  } else if (::preadv2(file.fd, &buffer, 1, -1, RWF_NOWAIT) != sizeof taken) {
    return errno_status(errno, absl::StrCat("read of ", describe(file)));
  }
  return semaphore;
}

absl::StatusOr<bool> read_semaphore(const OpenFileView& file, uint64_t count) {
  if (!fdinfo_lines(file, "eventfd-semaphore:").empty()) {
    ASSIGN_OR_RETURN(const uint64_t semaphore, fdinfo_unsigned(file, "eventfd-semaphore", 10));
    return semaphore != 0;
  }
  if (file.fd < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(describe(file), ": whether it is a semaphore can only be told where pidfd_getfd is permitted"));
  }
  return probe_semaphore(file, count);
}

class EventfdKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "eventfd"; }
  bool claims(const OpenFileView& file) const override { return file.link == "anon_inode:[eventfd]"; }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext&, model::OpenFile& out) const override {
    EventfdDetail detail;
    ASSIGN_OR_RETURN(const uint64_t count, fdinfo_unsigned(file, "eventfd-count", 16));
    ASSIGN_OR_RETURN(const bool semaphore, read_semaphore(file, count));
    detail.set_count(count);
    detail.set_semaphore(semaphore);
    return store_detail(detail, file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const EventfdDetail detail, parse_detail<EventfdDetail>(file));
    UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (detail.semaphore() ? EFD_SEMAPHORE : 0)));
    if (!fd.valid()) return errno_status(errno, absl::StrCat("eventfd for ", describe(file)));
    const uint64_t count = std::min(detail.count(), kLargestCount);
    if (count != detail.count()) {
      context.note(absl::StrCat(file.description(), ": the counter had overflowed; it is at its largest value now"));
    }
    if (count > 0 && ::write(fd.get(), &count, sizeof count) != sizeof count) {
      return errno_status(errno, absl::StrCat("write to ", describe(file)));
    }
    return fd;
  }
};

}  // namespace

const OpenFileKind& eventfd_kind() {
  static const auto& kind = *new EventfdKind;
  return kind;
}

}  // namespace stillpoint
