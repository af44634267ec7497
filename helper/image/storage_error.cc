#include "helper/image/storage_error.h"

#include <sys/fsuid.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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
      return "the user who runs this may not do that there: run it as the owner of that directory, or choose a "
             "directory of your own";
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

absl::Status access_error(int error, absl::string_view what, absl::string_view object, const struct stat& stat,
                          Access access) {
  if (error != EACCES && error != EPERM) return storage_error(error, what);
  const absl::Status plain = errno_status(error, what);
  // setfsuid(2) tells the user id in force when it is asked for an impossible one.
  const auto own = static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1)));
  const std::string owner = stat.st_uid == own ? "you" : stat.st_uid == 0 ? "root" : absl::StrCat("user ", stat.st_uid);
  const std::string mode = absl::StrFormat("%04o", stat.st_mode & 07777);
  std::string remedy = "run this as that user";
  if (access == Access::kWrite) remedy = absl::StrCat("make it writable for you, or choose a directory of your own");
  if (stat.st_uid == own) remedy = absl::StrCat("chmod u+rwx ", object);
  return absl::Status(
      plain.code(), absl::StrCat(plain.message(), "; ", object, " belongs to ", owner, " (mode ", mode, "): ", remedy));
}

absl::Status access_error(int error, absl::string_view what, const std::string& path, Access access) {
  struct stat stat = {};
  if (::stat(path.c_str(), &stat) != 0) return storage_error(error, what);
  return access_error(error, what, path, stat, access);
}

absl::Status storage_error(int error, absl::string_view what) {
  absl::Status status = errno_status(error, what);
  const absl::string_view remedy = storage_remedy(error);
  if (remedy.empty()) return status;
  return absl::Status(status.code(), absl::StrCat(status.message(), "; ", remedy));
}

}  // namespace stillpoint::image
