// From a path as a user gives it to an image.
#ifndef STILLPOINT_HELPER_IMAGE_RESOLVE_H_
#define STILLPOINT_HELPER_IMAGE_RESOLVE_H_

#include <string>

#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"

namespace stillpoint::image {

struct ResolvedImage {
  UniqueFd fd;
  std::string name;
};

// `path` is an image or a checkpoint directory, of which the latest image is taken.
absl::StatusOr<ResolvedImage> resolve_image(const std::string& path);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_RESOLVE_H_
