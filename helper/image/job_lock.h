// Serializes what changes a checkpoint directory as a whole: claiming a sequence
// number, publishing, moving `latest`, deleting.
#ifndef STILLPOINT_HELPER_IMAGE_JOB_LOCK_H_
#define STILLPOINT_HELPER_IMAGE_JOB_LOCK_H_

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/base/unique_fd.h"

namespace stillpoint::image {

// An exclusive flock(2) on the directory, given up with the object or the process. Excludes other threads too; not
// recursive. On filesystems that have no locks it holds nothing, and the O_EXCL and rename rules alone protect the
// images.
class JobLock {
 public:
  // Waits for another holder for half a minute at most, then DEADLINE_EXCEEDED: a lock that somebody keeps must not
  // keep the helper.
  static absl::StatusOr<JobLock> acquire(int directory, absl::string_view label);

 private:
  explicit JobLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_JOB_LOCK_H_
