#include "helper/image/storage_error.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"

namespace stillpoint::image {

absl::string_view storage_remedy(int error) {
  switch (error) {
    case ENOSPC:
      return "the filesystem is full: free space there, keep fewer images, or choose a directory elsewhere";
    case EDQUOT:
      return "the disk quota is used up: free space, or ask for a larger quota";
    case EFBIG:
      return "the file would exceed the file size limit: raise it (ulimit -f, RLIMIT_FSIZE)";
    case EACCES:
    case EPERM:
      return "give the user who runs this permission on that file and its directory";
    case EROFS:
      return "the filesystem is mounted read-only: remount it, or choose a directory elsewhere";
    case EIO:
      return "the device reports errors: see the kernel log";
    case ESTALE:
      return "the network filesystem no longer knows the file: mount it again";
    case EMFILE:
      return "too many open files: raise the limit (ulimit -n, RLIMIT_NOFILE)";
    default:
      return "";
  }
}

absl::Status storage_error(int error, absl::string_view what) {
  absl::Status status = errno_status(error, what);
  const absl::string_view remedy = storage_remedy(error);
  if (remedy.empty()) return status;
  return absl::Status(status.code(), absl::StrCat(status.message(), "; ", remedy));
}

}  // namespace stillpoint::image
