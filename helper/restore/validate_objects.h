// The part of validate() that looks at what is stored once and referred to: ids, sizes, timers, clocks.
#ifndef STILLPOINT_HELPER_RESTORE_VALIDATE_OBJECTS_H_
#define STILLPOINT_HELPER_RESTORE_VALIDATE_OBJECTS_H_

#include "absl/status/status.h"
#include "helper/model/model.pb.h"

namespace stillpoint {

// DATA_LOSS naming an id that stands for two objects, a page size that no kernel has, a timer that stands twice, a
// clock beyond all reckoning.
absl::Status validate_objects(const model::Tree& tree);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_VALIDATE_OBJECTS_H_
