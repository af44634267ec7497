#include "helper/image/stored_sources.h"

#include <fcntl.h>
#include <time.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/image/files.h"
#include "helper/image/image.h"
#include "helper/image/image_layout.h"
#include "helper/image/names.h"

namespace stillpoint::image {
namespace {

constexpr int64_t kSettled = 2;  // seconds: coarser than any filesystem's clock that has inode numbers to speak of

int64_t nanoseconds(const timespec& time) { return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec; }

}  // namespace

void remember_source(const struct stat& source, const struct stat& stored, FileEntry& entry) {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);  // cannot fail for this clock
  if (now.tv_sec - source.st_ctim.tv_sec < kSettled || now.tv_sec - source.st_mtim.tv_sec < kSettled) return;
  StoredSource& known = *entry.mutable_source();
  known.set_device(source.st_dev);
  known.set_inode(source.st_ino);
  known.set_mtime_ns(nanoseconds(source.st_mtim));
  known.set_ctime_ns(nanoseconds(source.st_ctim));
  known.set_stored_inode(stored.st_ino);
  known.set_stored_ctime_ns(nanoseconds(stored.st_ctim));
}

bool is_unchanged(const FileEntry& entry, const struct stat& source, const struct stat& stored) {
  if (!entry.has_source()) return false;
  const StoredSource& known = entry.source();
  return known.device() == source.st_dev && known.inode() == source.st_ino &&
         entry.size() == static_cast<uint64_t>(source.st_size) && known.mtime_ns() == nanoseconds(source.st_mtim) &&
         known.ctime_ns() == nanoseconds(source.st_ctim) && known.stored_inode() == stored.st_ino &&
         entry.size() == static_cast<uint64_t>(stored.st_size) &&
         known.stored_ctime_ns() == nanoseconds(stored.st_ctim);
}

std::optional<Manifest> JobDirectory::latest_manifest() const {
  const absl::StatusOr<std::optional<uint64_t>> sequence = latest();
  if (!sequence.ok() || !sequence->has_value()) return std::nullopt;
  const std::string name = image_name(**sequence);
  const absl::StatusOr<UniqueFd> image = open_directory(fd(), name, name);
  if (!image.ok()) return std::nullopt;
  absl::StatusOr<Manifest> manifest = read_manifest(image->get(), name);
  if (!manifest.ok()) return std::nullopt;
  return *std::move(manifest);
}

std::optional<FileEntry> JobDirectory::stored_already(const Manifest& known, int source_fd) const {
  struct stat source = {};
  if (::fstat(source_fd, &source) != 0) return std::nullopt;
  const absl::StatusOr<UniqueFd> directory = open_directory(fd(), kStoredFilesName, kStoredFilesName);
  if (!directory.ok()) return std::nullopt;
  for (const FileEntry& entry : known.stored_files()) {
    if (!entry.has_source() || entry.source().inode() != source.st_ino) continue;
    const absl::StatusOr<UniqueFd> stored = open_regular(directory->get(), entry.name(), entry.name());
    struct stat copy = {};
    if (!stored.ok() || ::fstat(stored->get(), &copy) != 0) continue;
    if (is_unchanged(entry, source, copy)) return entry;
  }
  return std::nullopt;
}

}  // namespace stillpoint::image
