// DIR/owner: to which job, and to which life of it, a checkpoint directory belongs.
//
// Every start and every restart of a job begins a new life, and raises the epoch. A process of an older life (a
// requeued job's first incarnation, cut off but still running) is found among the lives before the newest and may not
// publish. `run` and `restart` begin a life before its process is there; a program that they did not start begins one
// with the first image it publishes.
#ifndef STILLPOINT_HELPER_IMAGE_OWNER_H_
#define STILLPOINT_HELPER_IMAGE_OWNER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/image/image.h"
#include "helper/image/job_name.h"

namespace stillpoint::image {

// A process of one boot of one machine; what the numbers mean is the caller's business.
struct LifeProcess {
  int32_t pid = 0;  // 0: not known (yet)
  int64_t start_ms = 0;
};

struct Life {
  uint64_t epoch = 0;   // 1 is the first
  std::string host;     // uname -n
  std::string boot_id;  // /proc/sys/kernel/random/boot_id
  JobName job;
  LifeProcess process;
  bool supervised = false;  // by `run` or `restart`, which note its end
  bool ended = false;
};

struct Owner {
  std::vector<Life> lives;  // oldest first; the last one owns the directory
  const Life& newest() const { return lives.back(); }
};

// What the rules need to know of processes.
struct ProcessQuestions {
  // The same process, though read at two times and places.
  std::function<bool(const LifeProcess& a, const LifeProcess& b)> same;
  std::function<bool(const LifeProcess& process)> still_runs;  // on this machine
};

// nullopt: nobody has claimed the directory. DATA_LOSS: the file is damaged.
absl::StatusOr<std::optional<Owner>> read_owner(const JobDirectory& directory);

// `run` and `restart`: begins a new life whose process is not there yet, durable on return; its epoch is filled in.
// FAILED_PRECONDITION, unless `take_over` is set, when the directory belongs to another task of an array, or to another
// job whose `run` or `restart` has not noted its end.
absl::StatusOr<Life> claim_owner(const JobDirectory& directory, const Life& claimant, const ProcessQuestions& questions,
                                 bool take_over = false);
// The claimed life has this process now. Fine when it has published meanwhile, or when a newer life has begun.
absl::Status settle_claim(const JobDirectory& directory, uint64_t epoch, const LifeProcess& process);
// Nothing came of the claim: the life before owns the directory again.
absl::Status withdraw_claim(const JobDirectory& directory, uint64_t epoch);
// The process of that life is no more.
absl::Status note_end(const JobDirectory& directory, uint64_t epoch);

// Who wants to publish: where it runs, and it and its ancestors, itself first.
struct Publisher {
  std::string host;
  std::string boot_id;
  JobName job;
  std::vector<LifeProcess> lineage;
};

// OK, and the life it is, when the publisher may publish: it or an ancestor is the newest life's process; or it takes
// the place that a claim keeps for it; or nobody knows it, and then it begins a new life, unless the newest is another
// program that still runs here, or another job's. FAILED_PRECONDITION says who owns the directory, and what to do.
//
// may_publish looks only. admit_publisher also writes what has changed; it is for ImageWriter::publish's
// before_publish: under that lock nothing can come between.
absl::StatusOr<Life> may_publish(const JobDirectory& directory, const Publisher& publisher,
                                 const ProcessQuestions& questions);
absl::StatusOr<Life> admit_publisher(const JobDirectory& directory, const Publisher& publisher,
                                     const ProcessQuestions& questions);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_OWNER_H_
