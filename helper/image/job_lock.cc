#include "helper/image/job_lock.h"

#include <sys/file.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "helper/base/errors.h"
#include "helper/image/files.h"

namespace stillpoint::image {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr absl::Duration kPause = absl::Milliseconds(5);

}  // namespace

absl::StatusOr<JobLock> JobLock::acquire(int directory, absl::string_view label) {
  ASSIGN_OR_RETURN(UniqueFd fd, reopen_directory(directory, label));
  const absl::Time deadline = absl::Now() + kPatience;
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) break;  // no locks on this filesystem
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(absl::StrCat(label, " is locked by another process (flock) for more than ",
                                                      absl::FormatDuration(kPatience),
                                                      ": let its checkpoint finish, or find it with lsof"));
    }
    absl::SleepFor(kPause);
  }
  return JobLock(std::move(fd));
}

}  // namespace stillpoint::image
