// Errors of files and filesystems with what to do about them.
#ifndef STILLPOINT_HELPER_IMAGE_STORAGE_ERROR_H_
#define STILLPOINT_HELPER_IMAGE_STORAGE_ERROR_H_

#include <sys/stat.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace stillpoint::image {

// errno_status(error, what) followed by the remedy, for the errors that have one (ENOSPC, EDQUOT, EFBIG, EACCES, EROFS,
// EIO, ...).
absl::Status storage_error(int error, absl::string_view what);

// The same for a refusal (EACCES, EPERM) to read, or to write, what `stat` describes and `object` names: whose it is,
// and what to do about that. Nobody is told to open an image to others: it holds a program's memory.
enum class Access { kRead, kWrite };
absl::Status access_error(int error, absl::string_view what, absl::string_view object, const struct stat& stat,
                          Access access);

// The same where `path` leads to the object, which is looked at here.
absl::Status access_error(int error, absl::string_view what, const std::string& path, Access access);

// The remedy alone; empty for errors without one.
absl::string_view storage_remedy(int error);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_STORAGE_ERROR_H_
