// Objects that the process has from whoever started it and that `stillpoint restart` gives it again: its own
// standard input, output and error take their place.
#ifndef STILLPOINT_HELPER_RESOURCES_INHERITED_H_
#define STILLPOINT_HELPER_RESOURCES_INHERITED_H_

#include <cstdint>

#include "absl/status/status.h"
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// The restarter's fd that stands for `file`: 0, 1 or 2 where one of them is the same object (bash keeps its
// terminal as fd 255 too), else the lowest number of the file itself.
int inherited_number(const OpenFileView& file);

// True when the process's parent holds the object as one of its own standard streams: `program > log` under a
// shell or a batch system, as opposed to a file the program opened for itself.
bool starter_holds(const OpenFileView& file);

// For kinds that find out while they dump that the object is the starter's: `out` becomes one of kind "inherited".
// `lost_bytes` are what waited in a pipe of the starter's.
absl::Status dump_inherited(const OpenFileView& file, model::OpenFile& out, uint64_t lost_bytes = 0);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_INHERITED_H_
