#include "helper/dump/mapped_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/base/nanoseconds.h"
#include "helper/model/build_id.h"

namespace stillpoint {
namespace {

constexpr int kAttempts = 3;  // to copy a file that is being written
constexpr absl::string_view kDeletedSuffix = " (deleted)";

// The file at `path`, but only when it is the one that is mapped.
UniqueFd open_if_same(const std::string& path, const procfs::Mapping& mapping) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat stat {};
  if (!fd.valid() || ::fstat(fd.get(), &stat) != 0 || stat.st_ino != mapping.inode) return UniqueFd();
  return fd;
}

uint64_t hash_of(const uint64_t* chunks, size_t count) {
  return image::checksum(absl::string_view(reinterpret_cast<const char*>(chunks), count * sizeof(uint64_t)));
}

}  // namespace

absl::StatusOr<uint64_t> MappedFiles::enter_mapping(pid_t pid, const procfs::Mapping& mapping) {
  if (UniqueFd fd = open_if_same(mapping.name, mapping); fd.valid()) {
    return enter(std::move(fd), mapping.name, /*deleted=*/false);
  }
  const std::string link =
      absl::StrCat("/proc/", pid, "/map_files/", absl::Hex(mapping.start), "-", absl::Hex(mapping.end));
  UniqueFd fd(::open(link.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return 0;
  return enter(std::move(fd), std::string(absl::StripSuffix(mapping.name, kDeletedSuffix)), /*deleted=*/true);
}

absl::StatusOr<uint64_t> MappedFiles::enter_executable(pid_t pid) {
  const std::string link = absl::StrCat("/proc/", pid, "/exe");
  ASSIGN_OR_RETURN(const std::string path, procfs::read_link(link));
  UniqueFd fd(::open(link.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("open ", link, " (", path, ")"));
  const bool deleted = absl::EndsWith(path, kDeletedSuffix) && ::access(path.c_str(), F_OK) != 0;
  return enter(std::move(fd), deleted ? std::string(absl::StripSuffix(path, kDeletedSuffix)) : path, deleted);
}

absl::StatusOr<uint64_t> MappedFiles::enter(UniqueFd fd, std::string path, bool deleted) {
  struct stat stat {};
  if (::fstat(fd.get(), &stat) != 0) return errno_status(errno, absl::StrCat("fstat of ", path));
  for (const File& file : files_) {
    if (file.message.inode() == stat.st_ino && file.message.device() == stat.st_dev) return file.message.id();
  }
  File file;
  model::MappedFile& message = file.message;
  message.set_id(files_.size() + 1);
  message.set_path(std::move(path));
  message.set_size(static_cast<uint64_t>(stat.st_size));
  message.set_mtime_ns(to_nanoseconds(stat.st_mtim));
  message.set_inode(stat.st_ino);
  message.set_device(stat.st_dev);
  message.set_deleted(deleted);
  const model::ElfIdentity identity = model::elf_identity(fd.get());
  file.elf = identity.elf;
  message.set_build_id(identity.build_id);
  file.fd = std::move(fd);
  files_.push_back(std::move(file));
  return files_.back().message.id();
}

absl::Status MappedFiles::sync(uint64_t id) const {
  const File& file = files_[id - 1];
  if (::fdatasync(file.fd.get()) != 0 && errno != EINVAL && errno != EROFS) {
    return errno_status(errno, absl::StrCat("fdatasync of ", file.message.path()));
  }
  return absl::OkStatus();
}

absl::StatusOr<image::FileEntry> MappedFiles::store_file(const image::JobDirectory& directory, const File& file) {
  std::string name = file.message.build_id();
  if (name.empty()) {
    ASSIGN_OR_RETURN(const std::vector<uint64_t> chunks, image::checksum_file(file.fd.get(), file.message.path()));
    name = absl::StrCat("xxh3-", absl::Hex(hash_of(chunks.data(), chunks.size()), absl::kZeroPad16), "-",
                        file.message.size());
  }
  return directory.store_file(name, file.fd.get());
}

absl::Status MappedFiles::store(const image::JobDirectory& directory, const std::set<uint64_t>& written,
                                image::Manifest& manifest, std::vector<std::string>& notes) {
  std::optional<image::Manifest> previous = directory.latest_manifest();
  if (previous.has_value() && previous->boot_id() != manifest.boot_id()) previous.reset();
  for (File& file : files_) {
    model::MappedFile& message = file.message;
    if (written.contains(message.id()) || (!file.elf && message.size() > kStoreLimit)) continue;
    std::optional<image::FileEntry> entry;
    if (previous.has_value()) entry = directory.stored_already(*previous, file.fd.get());
    if (!entry.has_value()) {
      absl::StatusOr<image::FileEntry> stored = store_file(directory, file);
      for (int i = 1; i < kAttempts && absl::IsAborted(stored.status()); ++i) stored = store_file(directory, file);
      if (absl::IsAborted(stored.status())) {
        notes.push_back(absl::StrCat("no copy of ", message.path(), " is stored: it changed while it was copied"));
        continue;
      }
      RETURN_IF_ERROR(stored.status());
      entry = *std::move(stored);
    }
    message.set_stored_as(entry->name());
    if (message.build_id().empty()) {
      message.set_hash(hash_of(entry->chunks().data(), static_cast<size_t>(entry->chunks_size())));
    }
    bool listed = false;
    for (const image::FileEntry& stored : manifest.stored_files()) listed = listed || stored.name() == entry->name();
    if (!listed) *manifest.add_stored_files() = *std::move(entry);
  }
  return absl::OkStatus();
}

void MappedFiles::add_to(model::Tree& tree) const {
  for (const File& file : files_) *tree.add_mapped_files() = file.message;
}

}  // namespace stillpoint
