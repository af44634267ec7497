#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/image/files.h"
#include "helper/image/image.h"
#include "helper/image/job_lock.h"
#include "helper/image/latest.h"
#include "helper/image/names.h"
#include "helper/image/storage_error.h"

namespace stillpoint::image {
namespace {

// Makes the entry of a directory that was just created as durable as what will be put into it.
absl::Status sync_parent(const UniqueFd& directory, absl::string_view path) {
  const UniqueFd parent(::openat(directory.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // A parent that may be searched but not read cannot be synced by us.
  if (!parent.valid() && errno == EACCES) return absl::OkStatus();
  if (!parent.valid()) return storage_error(errno, absl::StrCat("open the parent of ", path));
  return sync_file(parent.get(), absl::StrCat("the parent of ", path));
}

std::string parent_of(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status cannot_create(int error, const std::string& path) {
  const std::string what = absl::StrCat("cannot create checkpoint directory ", path);
  const std::string parent = parent_of(path);
  if (error == ENOENT) {
    return absl::NotFoundError(
        absl::StrCat(what, ": ", parent, " does not exist; create it first (mkdir -p ", parent, ")"));
  }
  return access_error(error, what, parent, Access::kWrite);
}

// Removes the leftovers in one directory; goes on after an error and returns the first.
absl::Status remove_leftovers_in(int directory, absl::string_view label) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, list_directory(directory, label));
  absl::Status first;
  for (const std::string& name : names) {
    // Unknown counts as dead here: without locks a job still makes one checkpoint at a time.
    if (!is_temporary_name(name) || liveness(directory, name) == Liveness::kAlive) continue;
    first.Update(remove_tree(directory, name, absl::StrCat(label, "/", name)));
  }
  return first;
}

}  // namespace

absl::StatusOr<JobDirectory> JobDirectory::open(const std::string& path, bool create) {
  bool created = false;
  if (create) {
    created = ::mkdir(path.c_str(), 0700) == 0;
    if (!created && errno != EEXIST) return cannot_create(errno, path);
    // A umask that denies its owner would make a directory that its owner cannot open.
    if (created && ::chmod(path.c_str(), 0700) != 0) return storage_error(errno, absl::StrCat("chmod ", path));
  }
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return access_error(errno, absl::StrCat("open checkpoint directory ", path), path, Access::kRead);
  if (created) RETURN_IF_ERROR(sync_parent(fd, path));
  return from_fd(fd.get(), path);
}

absl::StatusOr<JobDirectory> JobDirectory::from_fd(int fd, absl::string_view name) {
  JobDirectory directory;
  ASSIGN_OR_RETURN(directory.fd_, reopen_directory(fd, name));
  directory.name_ = std::string(name);
  return directory;
}

absl::StatusOr<std::vector<uint64_t>> JobDirectory::sequences() const {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, list_directory(fd(), name_));
  std::vector<uint64_t> sequences;
  for (const std::string& name : names) {
    const std::optional<uint64_t> sequence = image_sequence(name);
    struct stat stat = {};
    if (!sequence.has_value() || ::fstatat(fd(), name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISDIR(stat.st_mode)) sequences.push_back(*sequence);
  }
  std::sort(sequences.begin(), sequences.end());
  return sequences;
}

absl::StatusOr<std::optional<uint64_t>> JobDirectory::latest() const { return read_latest(fd(), name_); }

absl::StatusOr<uint64_t> JobDirectory::next_sequence() const {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, list_directory(fd(), name_));
  uint64_t highest = 0;
  for (const std::string& name : names) {
    highest = std::max(highest, image_sequence(name).value_or(0));
    highest = std::max(highest, temporary_sequence(name).value_or(0));
  }
  const absl::StatusOr<std::optional<uint64_t>> named = latest();
  if (named.ok()) highest = std::max(highest, named->value_or(0));  // a damaged link names nothing
  if (highest >= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::OutOfRangeError(absl::StrCat(name_, " holds ", image_name(highest), ": no number is left above it"));
  }
  return highest + 1;
}

absl::Status JobDirectory::remove_leftovers() const {
  ASSIGN_OR_RETURN(const JobLock lock, JobLock::acquire(fd(), name_));
  absl::Status status = remove_leftovers_in(fd(), name_);
  const std::string label = absl::StrCat(name_, "/", kStoredFilesName);
  const absl::StatusOr<UniqueFd> stored = open_directory(fd(), kStoredFilesName, label);
  if (absl::IsNotFound(stored.status())) return status;  // nothing was stored yet
  status.Update(stored.status());
  if (stored.ok()) status.Update(remove_leftovers_in(stored->get(), label));
  return status;
}

}  // namespace stillpoint::image
