#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/image/checksum.h"
#include "helper/image/files.h"
#include "helper/image/image.h"
#include "helper/image/image_layout.h"
#include "helper/image/latest.h"
#include "helper/image/names.h"
#include "helper/image/resolve.h"
#include "helper/image/storage_error.h"
#include "helper/image/verify.h"

namespace stillpoint::image {
namespace {

// Files read at once are state, which no parser takes above 2 GiB.
constexpr uint64_t kMaxFileInMemory = uint64_t{1} << 31;

// The newest image where no link says which.
absl::StatusOr<uint64_t> newest_sequence(const JobDirectory& directory) {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> sequences, directory.sequences());
  if (!sequences.empty()) return sequences.back();
  return absl::NotFoundError(absl::StrCat(directory.name(), " is neither an image (", kManifestName,
                                          " is missing) nor a directory with images"));
}

bool names_image(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return image_sequence(path.substr(path.rfind('/') + 1)).has_value();
}

absl::Status no_such_entry(absl::string_view label, absl::string_view name) {
  return absl::NotFoundError(absl::StrCat(label, " has no file \"", absl::CHexEscape(name), "\""));
}

}  // namespace

absl::StatusOr<ResolvedImage> resolve_image(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return access_error(errno, absl::StrCat("open image ", path), path, Access::kRead);
  struct stat stat = {};
  if (::fstatat(fd.get(), kManifestName, &stat, AT_SYMLINK_NOFOLLOW) == 0) return ResolvedImage{std::move(fd), path};
  if (names_image(path)) return absl::DataLossError(absl::StrCat(path, "/", kManifestName, " is missing"));
  ASSIGN_OR_RETURN(const JobDirectory directory, JobDirectory::from_fd(fd.get(), path));
  ASSIGN_OR_RETURN(const std::optional<uint64_t> linked, directory.latest());
  const absl::StatusOr<uint64_t> sequence = linked.has_value() ? *linked : newest_sequence(directory);
  RETURN_IF_ERROR(sequence.status());
  const std::string label = absl::StrCat(path, "/", image_name(*sequence));
  absl::StatusOr<UniqueFd> image = open_directory(fd.get(), image_name(*sequence), label);
  if (!image.ok() && linked.has_value()) {
    return with_context(image.status(), absl::StrCat(path, "/", kLatestName));
  }
  RETURN_IF_ERROR(image.status());
  return ResolvedImage{*std::move(image), label};
}

absl::StatusOr<ImageReader> ImageReader::open(const std::string& path) {
  ASSIGN_OR_RETURN(const ResolvedImage image, resolve_image(path));
  return from_fd(image.fd.get(), image.name);
}

absl::StatusOr<ImageReader> ImageReader::from_fd(int fd, absl::string_view name) {
  ASSIGN_OR_RETURN(ImageReader reader, open_manifest(fd, name));
  RETURN_IF_ERROR(join_errors(check_layout(reader.fd(), reader.manifest_, name)));
  return reader;
}

absl::StatusOr<ImageReader> ImageReader::open_manifest(int fd, absl::string_view name) {
  ImageReader reader;
  ASSIGN_OR_RETURN(reader.fd_, reopen_directory(fd, name));
  reader.name_ = std::string(name);
  // For prune(), which leaves a locked image alone. Where there are no locks it cannot know.
  static_cast<void>(::flock(reader.fd(), LOCK_SH | LOCK_NB));
  ASSIGN_OR_RETURN(reader.manifest_, read_manifest(reader.fd(), name));
  return reader;
}

const FileEntry* ImageReader::find(absl::string_view name) const {
  const auto& files = manifest_.files();
  const auto entry =
      std::find_if(files.begin(), files.end(), [name](const FileEntry& file) { return file.name() == name; });
  return entry == files.end() ? nullptr : &*entry;
}

absl::StatusOr<UniqueFd> ImageReader::open_file(absl::string_view name, int extra_flags) const {
  const FileEntry* entry = find(name);
  if (entry == nullptr) return no_such_entry(name_, name);
  return open_entry(fd(), *entry, absl::StrCat(name_, "/", name), extra_flags);
}

absl::StatusOr<std::string> ImageReader::read_file(absl::string_view name) const {
  ASSIGN_OR_RETURN(const UniqueFd fd, open_file(name));
  const FileEntry& entry = *find(name);
  const std::string label = absl::StrCat(name_, "/", name);
  if (entry.size() > kMaxFileInMemory) {
    return absl::ResourceExhaustedError(
        absl::StrCat(label, " has ", entry.size(), " bytes, too many to be read at once"));
  }
  std::string content;
  content.reserve(entry.size());
  ChunkBuffer buffer;
  for (int chunk = 0; chunk < entry.chunks_size(); ++chunk) {
    ASSIGN_OR_RETURN(const absl::string_view bytes, read_checked_chunk(buffer, fd.get(), entry, chunk, label));
    content.append(bytes.data(), bytes.size());
  }
  return content;
}

absl::StatusOr<UniqueFd> ImageReader::open_stored_file(absl::string_view name) const {
  const auto& files = manifest_.stored_files();
  const auto entry =
      std::find_if(files.begin(), files.end(), [name](const FileEntry& file) { return file.name() == name; });
  if (entry == files.end()) return no_such_entry(beside_image(name_, kStoredFilesName), name);
  ASSIGN_OR_RETURN(const UniqueFd stored, open_stored_files(fd(), name_));
  return open_entry(stored.get(), *entry, absl::StrCat(beside_image(name_, kStoredFilesName), "/", name));
}

std::vector<absl::Status> ImageReader::verify(
    const std::function<void(uint64_t done, uint64_t total)>& progress) const {
  return verify_chain(fd(), manifest_, name_, progress);
}

}  // namespace stillpoint::image
