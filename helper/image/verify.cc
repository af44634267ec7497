#include "helper/image/verify.h"

#include <fcntl.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/image/files.h"
#include "helper/image/image.h"
#include "helper/image/image_layout.h"
#include "helper/image/names.h"
#include "helper/image/resolve.h"

namespace stillpoint::image {
namespace {

using Progress = std::function<void(uint64_t done, uint64_t total)>;

struct ImageView {
  UniqueFd fd;
  Manifest manifest;
  std::string label;
};

uint64_t bytes_of(const Manifest& manifest) {
  uint64_t total = 0;
  for (const FileEntry& entry : manifest.files()) total += entry.size();
  for (const FileEntry& entry : manifest.stored_files()) total += entry.size();
  return total;
}

class Verification {
 public:
  Verification(const Progress& progress, uint64_t total) : progress_(progress), total_(total) {}

  void check_image(int fd, const Manifest& manifest, absl::string_view label) {
    for (absl::Status& error : check_layout(fd, manifest, label)) errors_.push_back(std::move(error));
    for (const FileEntry& entry : manifest.files()) {
      const std::string file = absl::StrCat(label, "/", entry.name());
      const absl::StatusOr<UniqueFd> open = open_entry(fd, entry, file);
      // Of the wrong size or kind: check_layout has said so.
      if (open.ok()) check_chunks(open->get(), entry, file);
    }
    check_stored(fd, manifest, label);
  }

  void add(absl::Status error) { errors_.push_back(std::move(error)); }
  std::vector<absl::Status> take_errors() { return std::move(errors_); }

 private:
  void check_stored(int fd, const Manifest& manifest, absl::string_view label) {
    if (manifest.stored_files().empty()) return;
    const absl::StatusOr<UniqueFd> stored = open_stored_files(fd, label);
    if (!stored.ok()) return add(stored.status());
    for (const FileEntry& entry : manifest.stored_files()) {
      const std::string file = absl::StrCat(beside_image(label, kStoredFilesName), "/", entry.name());
      const absl::StatusOr<UniqueFd> open = open_entry(stored->get(), entry, file);
      if (open.ok()) {
        check_chunks(open->get(), entry, file);
      } else {
        add(open.status());
      }
    }
  }

  void check_chunks(int fd, const FileEntry& entry, absl::string_view label) {
    static_cast<void>(::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));  // advice only
    for (int chunk = 0; chunk < entry.chunks_size(); ++chunk) {
      const absl::StatusOr<absl::string_view> bytes = read_checked_chunk(buffer_, fd, entry, chunk, label);
      if (!bytes.ok()) add(bytes.status());
      done_ += std::min(kChunkSize, entry.size() - static_cast<uint64_t>(chunk) * kChunkSize);
      if (progress_ != nullptr) progress_(done_, total_);
    }
  }

  const Progress& progress_;
  const uint64_t total_;
  uint64_t done_ = 0;
  ChunkBuffer buffer_;
  std::vector<absl::Status> errors_;
};

absl::StatusOr<ImageView> open_parent(int fd, const Manifest& manifest, absl::string_view label) {
  ImageView parent;
  parent.label = beside_image(label, manifest.parent());
  ASSIGN_OR_RETURN(const UniqueFd job, open_job_of_image(fd, label));
  ASSIGN_OR_RETURN(parent.fd, open_directory(job.get(), manifest.parent(), parent.label));
  ASSIGN_OR_RETURN(parent.manifest, read_manifest(parent.fd.get(), parent.label));
  // Together with "a parent has a lower number than its delta" this makes every chain end.
  if (image_name(parent.manifest.sequence()) != manifest.parent()) {
    return absl::DataLossError(absl::StrCat(parent.label, " says that it is ", image_name(parent.manifest.sequence())));
  }
  return parent;
}

}  // namespace

absl::StatusOr<absl::string_view> read_checked_chunk(ChunkBuffer& buffer, int fd, const FileEntry& entry, int chunk,
                                                     absl::string_view label) {
  const uint64_t index = static_cast<uint64_t>(chunk);
  const uint64_t first = index * kChunkSize;
  const uint64_t size = std::min(kChunkSize, entry.size() - first);
  ASSIGN_OR_RETURN(const absl::string_view bytes, buffer.read(fd, index, label));
  if (bytes.size() == size && checksum(bytes) == entry.chunks(chunk)) return bytes;
  return absl::DataLossError(absl::StrCat(label, " is damaged in chunk ", chunk, " (bytes ", first, " to ",
                                          first + size - 1, "): its checksum differs"));
}

absl::StatusOr<UniqueFd> open_stored_files(int image, absl::string_view label) {
  ASSIGN_OR_RETURN(const UniqueFd job, open_job_of_image(image, label));
  const std::string name = beside_image(label, kStoredFilesName);
  absl::StatusOr<UniqueFd> stored = open_directory(job.get(), kStoredFilesName, name);
  if (absl::IsNotFound(stored.status())) return absl::DataLossError(absl::StrCat(name, " is missing"));
  return stored;
}

std::vector<absl::Status> verify_chain(int fd, const Manifest& manifest, absl::string_view label,
                                       const Progress& progress) {
  std::vector<ImageView> parents;
  absl::Status broken;
  uint64_t total = bytes_of(manifest);
  for (const Manifest* child = &manifest; broken.ok() && !child->parent().empty();) {
    const bool first = parents.empty();
    absl::StatusOr<ImageView> parent = open_parent(first ? fd : parents.back().fd.get(), *child,
                                                   first ? label : absl::string_view(parents.back().label));
    broken = parent.status();
    if (!parent.ok()) break;
    parents.push_back(*std::move(parent));
    child = &parents.back().manifest;
    total += bytes_of(*child);
  }
  Verification verification(progress, total);
  verification.check_image(fd, manifest, label);
  for (const ImageView& parent : parents) verification.check_image(parent.fd.get(), parent.manifest, parent.label);
  if (!broken.ok()) verification.add(std::move(broken));
  return verification.take_errors();
}

std::vector<absl::Status> verify_image(const std::string& path,
                                       const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const absl::StatusOr<ResolvedImage> image = resolve_image(path);
  if (!image.ok()) return {image.status()};
  const absl::StatusOr<ImageReader> reader = ImageReader::open_manifest(image->fd.get(), image->name);
  if (!reader.ok()) return {reader.status()};
  return reader->verify(progress);
}

}  // namespace stillpoint::image
