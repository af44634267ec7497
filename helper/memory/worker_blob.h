// The worker's code, as linked at build time: a flat blob, entry at its first byte.
#ifndef STILLPOINT_HELPER_MEMORY_WORKER_BLOB_H_
#define STILLPOINT_HELPER_MEMORY_WORKER_BLOB_H_

#include "absl/strings/string_view.h"

namespace stillpoint {

absl::string_view worker_blob();

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_MEMORY_WORKER_BLOB_H_
