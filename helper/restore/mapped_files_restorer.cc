#include "helper/restore/mapped_files_restorer.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "helper/base/errors.h"
#include "helper/base/nanoseconds.h"
#include "helper/model/build_id.h"
#include "helper/model/mappings.h"
#include "helper/restore/open_files_restorer.h"

namespace stillpoint {
namespace {

bool same_contents(int fd, const image::FileEntry* stored) {
  if (stored == nullptr) return false;
  const absl::StatusOr<std::vector<uint64_t>> chunks = image::checksum_file(fd, "mapped file");
  return chunks.ok() && std::equal(chunks->begin(), chunks->end(), stored->chunks().begin(), stored->chunks().end());
}

const image::FileEntry* stored_entry(const image::ImageReader& image, const std::string& name) {
  for (const image::FileEntry& entry : image.manifest().stored_files()) {
    if (!name.empty() && entry.name() == name) return &entry;
  }
  return nullptr;
}

// Why the file at its path is not the one that was mapped; empty: it is.
std::string difference(int fd, const model::MappedFile& file, const image::ImageReader& image) {
  struct stat stat {};
  if (::fstat(fd, &stat) != 0) return absl::StrCat("cannot be looked at (", errno_name(errno), ")");
  if (!S_ISREG(stat.st_mode)) return "is no regular file any more";
  const int64_t mtime = to_nanoseconds(stat.st_mtim);
  const bool same_size = static_cast<uint64_t>(stat.st_size) == file.size();
  if (same_size && mtime == file.mtime_ns() && stat.st_ino == file.inode()) return "";
  if (!file.build_id().empty() && same_size && model::elf_identity(fd).build_id == file.build_id()) return "";
  if (same_size && same_contents(fd, stored_entry(image, file.stored_as()))) return "";
  return "was replaced or changed since the checkpoint";
}

bool is_mapped_inode(int fd, const model::MappedFile& file) {
  struct stat stat {};
  return ::fstat(fd, &stat) == 0 && stat.st_ino == file.inode() && stat.st_dev == file.device();
}

absl::StatusOr<UniqueFd> open_one(const model::MappedFile& file, bool shared, bool writable,
                                  const image::ImageReader& image, const RestoreOptions& options,
                                  std::vector<std::string>& notes) {
  const std::string path = apply_path_mappings(file.path(), options.map_paths);
  UniqueFd fd(::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  std::string why =
      fd.valid() ? difference(fd.get(), file, image) : absl::StrCat("cannot be opened (", errno_name(errno), ")");
  if (why.empty()) return fd;
  if (shared && fd.valid() && (writable || file.stored_as().empty() || is_mapped_inode(fd.get(), file))) {
    // A shared mapping is the file, whatever became of its contents. One that nobody may write, of a file that
    // another has replaced, goes on showing what it showed.
    struct stat stat {};
    if (::fstat(fd.get(), &stat) == 0 && static_cast<uint64_t>(stat.st_size) >= file.size()) return fd;
    if (file.stored_as().empty()) {
      return absl::FailedPreconditionError(absl::StrCat(path, " is mapped shared and has become shorter"));
    }
  }
  if (file.stored_as().empty())
    return absl::FailedPreconditionError(absl::StrCat(path, " ", why, "; no copy is stored"));
  if (!options.embed) {
    return absl::FailedPreconditionError(absl::StrCat(path, " ", why, "; --no-embed forbids the stored copy"));
  }
  ASSIGN_OR_RETURN(UniqueFd stored, image.open_stored_file(file.stored_as()));
  notes.push_back(absl::StrCat(path, " ", why, ": the copy stored with the image is mapped"));
  return stored;
}

}  // namespace

absl::StatusOr<std::map<uint64_t, UniqueFd>> open_mapped_files(const model::Tree& tree, const image::ImageReader& image,
                                                               const RestoreOptions& options,
                                                               std::vector<std::string>& notes) {
  const std::set<uint64_t> shared = model::files_mapped_shared(tree);
  const std::set<uint64_t> writable = model::files_written_through_mappings(tree);
  std::map<uint64_t, UniqueFd> fds;
  std::vector<std::string> problems;
  for (const model::MappedFile& file : tree.mapped_files()) {
    absl::StatusOr<UniqueFd> fd =
        open_one(file, shared.contains(file.id()), writable.contains(file.id()), image, options, notes);
    if (fd.ok()) {
      fds[file.id()] = *std::move(fd);
    } else {
      problems.emplace_back(fd.status().message());
    }
  }
  if (!problems.empty()) return absl::FailedPreconditionError(absl::StrJoin(problems, "; "));
  return fds;
}

}  // namespace stillpoint
