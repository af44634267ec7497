// What the manifest tells people and readers about the tree beside it.
#ifndef STILLPOINT_HELPER_DUMP_MANIFEST_BUILDER_H_
#define STILLPOINT_HELPER_DUMP_MANIFEST_BUILDER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "helper/image/manifest.pb.h"
#include "helper/model/model.pb.h"

namespace stillpoint {

absl::Status describe_image(const model::Tree& tree, uint64_t sequence, image::Manifest& manifest);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_MANIFEST_BUILDER_H_
