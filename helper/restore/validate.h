// Checks that a parsed model describes a process tree at all. An image is untrusted input.
#ifndef STILLPOINT_HELPER_RESTORE_VALIDATE_H_
#define STILLPOINT_HELPER_RESTORE_VALIDATE_H_

#include "absl/status/status.h"
#include "helper/image/manifest.pb.h"
#include "helper/model/model.pb.h"

namespace stillpoint {

// DATA_LOSS naming the first thing that is impossible: ids that lead nowhere, sizes, addresses and numbers out of
// range, page extents outside their mapping or their file.
absl::Status validate(const model::Tree& tree, const image::Manifest& manifest);

// FAILED_PRECONDITION naming CPU features the image's process may be using and this machine lacks.
absl::Status check_cpu(const image::Manifest& manifest);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_VALIDATE_H_
