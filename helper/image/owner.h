// DIR/owner: to which job, and to which life of it, a checkpoint directory belongs.
//
// Every start and every restart of a job begins a new life and claims the directory, which raises the epoch. A process
// of an older life (a requeued job's first incarnation, cut off but still running) finds its epoch passed and may not
// publish.
#ifndef STILLPOINT_HELPER_IMAGE_OWNER_H_
#define STILLPOINT_HELPER_IMAGE_OWNER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/image/image.h"

namespace stillpoint::image {

struct Owner {
  std::string host;     // uname -n
  std::string boot_id;  // /proc/sys/kernel/random/boot_id
  std::string job_id;   // of the batch system; may be empty
  uint64_t epoch = 0;   // 1 is the first life
};

// nullopt: nobody has claimed the directory. DATA_LOSS: the file is damaged.
absl::StatusOr<std::optional<Owner>> read_owner(const JobDirectory& directory);

// Begins a new life: writes `claimant` with the next epoch and returns it. Durable on return. FAILED_PRECONDITION when
// the directory belongs to another job (both job ids are known and differ), unless `take_over` is set.
absl::StatusOr<Owner> claim_owner(const JobDirectory& directory, const Owner& claimant, bool take_over = false);

// OK when the life with `epoch` may publish: it is the newest, or nobody claims the directory. For
// ImageWriter::publish's before_publish: under that lock no claim can come between. FAILED_PRECONDITION says who owns
// it.
absl::Status check_owner(const JobDirectory& directory, uint64_t epoch);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_OWNER_H_
