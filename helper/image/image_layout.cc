#include "helper/image/image_layout.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/image/files.h"
#include "helper/image/image.h"
#include "helper/image/manifest_file.h"
#include "helper/image/storage_error.h"

namespace stillpoint::image {
namespace {

constexpr size_t kMaxErrorsInOneMessage = 8;

// In an image whatever is missing is damage.
absl::Status missing_is_damage(const absl::Status& status) {
  return absl::IsNotFound(status) ? absl::DataLossError(status.message()) : status;
}

}  // namespace

absl::StatusOr<Manifest> read_manifest(int fd, absl::string_view label) {
  const std::string file = absl::StrCat(label, "/", kManifestName);
  const absl::StatusOr<UniqueFd> manifest = open_regular(fd, kManifestName, file);
  RETURN_IF_ERROR(missing_is_damage(manifest.status()));
  struct stat stat = {};
  if (::fstat(manifest->get(), &stat) != 0) return storage_error(errno, absl::StrCat("stat ", file));
  if (static_cast<uint64_t>(stat.st_size) > kManifestHeaderSize + kMaxManifestSize) {
    return absl::DataLossError(absl::StrCat(file, " is damaged: no manifest has ", stat.st_size, " bytes"));
  }
  ASSIGN_OR_RETURN(const std::string bytes, read_whole(manifest->get(), file, kManifestHeaderSize + kMaxManifestSize));
  return parse_manifest(bytes, file);
}

absl::StatusOr<UniqueFd> open_entry(int directory, const FileEntry& entry, absl::string_view label, int extra_flags) {
  absl::StatusOr<UniqueFd> fd = open_regular(directory, entry.name(), label, extra_flags);
  RETURN_IF_ERROR(missing_is_damage(fd.status()));
  struct stat stat = {};
  if (::fstat(fd->get(), &stat) != 0) return storage_error(errno, absl::StrCat("stat ", label));
  const uint64_t size = static_cast<uint64_t>(stat.st_size);
  if (size < entry.size()) {
    return absl::DataLossError(absl::StrCat(label, " is truncated: it has ", size, " bytes instead of ", entry.size(),
                                            ", damaged from chunk ", size / kChunkSize));
  }
  if (size > entry.size()) {
    return absl::DataLossError(absl::StrCat(label, " is too large: ", size, " bytes instead of ", entry.size()));
  }
  return fd;
}

std::vector<absl::Status> check_layout(int fd, const Manifest& manifest, absl::string_view label) {
  std::vector<absl::Status> errors;
  std::set<std::string> expected = {kManifestName};
  for (const FileEntry& entry : manifest.files()) {
    expected.insert(entry.name());
    const absl::StatusOr<UniqueFd> file = open_entry(fd, entry, absl::StrCat(label, "/", entry.name()));
    if (!file.ok()) errors.push_back(file.status());
  }
  const absl::StatusOr<std::vector<std::string>> names = list_directory(fd, label);
  if (!names.ok()) {
    errors.push_back(names.status());
    return errors;
  }
  for (const std::string& name : *names) {
    if (expected.contains(name)) continue;
    errors.push_back(absl::DataLossError(absl::StrCat(label, "/", absl::CHexEscape(name),
                                                      " does not belong to the image: its manifest does not name it")));
  }
  return errors;
}

absl::Status join_errors(const std::vector<absl::Status>& errors) {
  if (errors.empty()) return absl::OkStatus();
  std::string message(errors.front().message());
  for (size_t i = 1; i < errors.size() && i < kMaxErrorsInOneMessage; ++i) {
    absl::StrAppend(&message, "; ", errors[i].message());
  }
  if (errors.size() > kMaxErrorsInOneMessage) {
    absl::StrAppend(&message, "; and ", errors.size() - kMaxErrorsInOneMessage, " more");
  }
  return absl::Status(errors.front().code(), message);
}

absl::StatusOr<UniqueFd> open_job_of_image(int fd, absl::string_view label) {
  UniqueFd job(::openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!job.valid()) return storage_error(errno, absl::StrCat("open the checkpoint directory of ", label));
  return job;
}

}  // namespace stillpoint::image
