// Whether the program may publish in its checkpoint directory: it may not when it has been started again since.
#ifndef STILLPOINT_HELPER_DUMP_OWNERSHIP_H_
#define STILLPOINT_HELPER_DUMP_OWNERSHIP_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/image/image.h"
#include "helper/image/owner.h"

namespace stillpoint {

class Ownership {
 public:
  // `job_id`: as the program names its job; empty: as its environment does.
  static absl::StatusOr<Ownership> of(pid_t pid, const std::string& job_id);

  // Before anything is stopped. Writes nothing.
  absl::Status look(const image::JobDirectory& directory);
  // Epoch and job, as look() found them.
  void describe(image::Manifest& manifest) const;
  // For ImageWriter::publish: the last word, under the directory's lock.
  absl::Status admit(const image::JobDirectory& directory) const;

 private:
  image::Publisher publisher_;
  image::Life life_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_OWNERSHIP_H_
