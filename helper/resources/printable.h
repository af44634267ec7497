// Names the kernel keeps as bytes (paths, comms), made fit for people and for protobuf `string` fields.
#ifndef STILLPOINT_HELPER_RESOURCES_PRINTABLE_H_
#define STILLPOINT_HELPER_RESOURCES_PRINTABLE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace stillpoint {

// `bytes` with control characters and whatever is not valid UTF-8 as "\xNN"; a valid name is unchanged.
std::string printable(absl::string_view bytes);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_PRINTABLE_H_
