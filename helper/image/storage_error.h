// Errors of files and filesystems with what to do about them.
#ifndef STILLPOINT_HELPER_IMAGE_STORAGE_ERROR_H_
#define STILLPOINT_HELPER_IMAGE_STORAGE_ERROR_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace stillpoint::image {

// errno_status(error, what) followed by the remedy, for the errors that have one (ENOSPC, EDQUOT, EFBIG, EACCES, EROFS,
// EIO, ...).
absl::Status storage_error(int error, absl::string_view what);

// The remedy alone; empty for errors without one.
absl::string_view storage_remedy(int error);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_STORAGE_ERROR_H_
