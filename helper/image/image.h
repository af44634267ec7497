// Images and the checkpoint directory they live in. Knows nothing of processes.
//
//   DIR/owner  DIR/latest -> ckpt-00000042  DIR/files/<build-id>
//   DIR/ckpt-00000042/{manifest.pb,state.pb,pages-0.bin,...}
//
// Everything is reached from a directory fd by openat; no path is ever followed
// through a symbolic link. Sizes are bytes.
#ifndef STILLPOINT_HELPER_IMAGE_IMAGE_H_
#define STILLPOINT_HELPER_IMAGE_IMAGE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/base/unique_fd.h"
#include "helper/image/manifest.pb.h"

namespace stillpoint::image {

inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint64_t kChunkSize = uint64_t{4} << 20;
inline constexpr char kManifestName[] = "manifest.pb";
inline constexpr char kStateName[] = "state.pb";

std::string image_name(uint64_t sequence);                       // 42 -> "ckpt-00000042"
std::optional<uint64_t> image_sequence(absl::string_view name);  // the inverse; nullopt for other names
std::string pages_name(uint32_t k);                              // 1 -> "pages-1.bin"
std::optional<uint32_t> pages_number(absl::string_view name);    // the inverse; nullopt for other names

// A checkpoint directory of one job.
class JobDirectory {
 public:
  static absl::StatusOr<JobDirectory> open(const std::string& path, bool create);
  // Duplicates `fd`; `name` is for messages.
  static absl::StatusOr<JobDirectory> from_fd(int fd, absl::string_view name);

  int fd() const { return fd_.get(); }
  const std::string& name() const { return name_; }

  absl::StatusOr<std::vector<uint64_t>> sequences() const;  // of published images, ascending
  absl::StatusOr<std::optional<uint64_t>> latest() const;   // what DIR/latest names
  absl::StatusOr<uint64_t> next_sequence() const;           // one above the highest ever seen here
  absl::Status remove_leftovers() const;                    // .tmp-* of checkpoints that never finished
  // Deletes the oldest images until `keep_last` remain (0: keeps all); never `latest`, never a parent still needed;
  // then files below DIR/files that no remaining image names.
  absl::Status prune(uint32_t keep_last) const;

  // Stores a copy of `source_fd` (reflink or copy_file_range where possible) as DIR/files/<name>, once: an existing
  // file with that name and content is taken as it is, a damaged one is replaced. Durable on return. `name` is a
  // build-id in hex or "xxh3-" and hex; the entry's name differs from it when an image needs another file of the same
  // build-id. The offset of `source_fd` stays where it is. Do this while an ImageWriter of the directory lives: a
  // stored file that no image names is protected from another process's prune() only by a checkpoint in progress.
  absl::StatusOr<FileEntry> store_file(absl::string_view name, int source_fd) const;
  // The manifest of the image that DIR/latest names; nullopt when there is none, or it is damaged.
  std::optional<Manifest> latest_manifest() const;
  // What `known`, a manifest of this boot, says of the file when neither it nor its stored copy has been touched since:
  // nothing is read. A restart checks the copy's content in any case.
  std::optional<FileEntry> stored_already(const Manifest& known, int source_fd) const;

 private:
  UniqueFd fd_;
  std::string name_;
};

// One image being written, invisible (".tmp-...") until publish().
class ImageWriter {
 public:
  // ALREADY_EXISTS when that sequence number is published or being written.
  static absl::StatusOr<ImageWriter> create(const JobDirectory& directory, uint64_t sequence);
  // With the next free sequence number, so that concurrent writers never meet.
  static absl::StatusOr<ImageWriter> create(const JobDirectory& directory);
  ImageWriter(ImageWriter&&) = default;
  ~ImageWriter();  // not published: removes what was written

  uint64_t sequence() const { return sequence_; }
  // A new file for page data, O_RDWR. The caller writes it and tells its size and checksums by add_file.
  absl::StatusOr<UniqueFd> create_file(absl::string_view name);
  void add_file(absl::string_view name, uint64_t size, std::vector<uint64_t> chunk_checksums);
  // Writes a small file at once.
  absl::Status write_file(absl::string_view name, absl::string_view bytes);
  // fsyncs all, writes the manifest last (files are filled in here), renames, fsyncs the directory, swaps `latest`.
  // `before_publish`, if set, runs after everything is durable and before the rename; its error stops the publication.
  // It runs under the directory's lock and must not call what takes it (claim_owner, prune, store_file, another
  // publish). Returns the image's name. On error nothing is published and what was written is gone.
  absl::StatusOr<std::string> publish(Manifest manifest, const std::function<absl::Status()>& before_publish = nullptr);

 private:
  ImageWriter() = default;
  static absl::StatusOr<ImageWriter> create_locked(const JobDirectory& directory, uint64_t sequence);
  std::string label(absl::string_view file) const;
  absl::Status sync_files() const;
  absl::Status write_manifest(Manifest& manifest);
  absl::Status rename_into_place();
  void discard();

  UniqueFd parent_;
  UniqueFd fd_;
  std::string directory_name_;
  std::string temporary_name_;
  uint64_t sequence_ = 0;
  std::vector<FileEntry> files_;
  // Of every file created: an error that the kernel meets while writing back is reported to fds opened before it.
  std::vector<std::pair<std::string, UniqueFd>> created_;
};

// A published image. Opening it verifies the manifest (and its own checksum), names, sizes and format version; one
// error tells of all files that are missing, foreign or of the wrong size. While a reader is open, prune() leaves the
// image alone.
class ImageReader {
 public:
  // ckpt-N, or a job directory: its latest (the newest where there is no link yet). `path` itself is the caller's word
  // and may lead through symbolic links.
  static absl::StatusOr<ImageReader> open(const std::string& path);
  static absl::StatusOr<ImageReader> from_fd(int fd, absl::string_view name);
  ImageReader(ImageReader&&) = default;
  ImageReader& operator=(ImageReader&&) = default;

  int fd() const { return fd_.get(); }
  const std::string& name() const { return name_; }
  const Manifest& manifest() const { return manifest_; }
  const FileEntry* find(absl::string_view name) const;
  // A whole file, checksums compared. Errors name file and chunk.
  absl::StatusOr<std::string> read_file(absl::string_view name) const;
  absl::StatusOr<UniqueFd> open_file(absl::string_view name, int extra_flags = 0) const;
  absl::StatusOr<UniqueFd> open_stored_file(absl::string_view name) const;  // DIR/files/name
  // Reads everything, stored files and the parents of a delta included. Every damaged chunk, missing, truncated or
  // foreign file is reported, not only the first.
  std::vector<absl::Status> verify(const std::function<void(uint64_t done, uint64_t total)>& progress = nullptr) const;

 private:
  ImageReader() = default;
  static absl::StatusOr<ImageReader> open_manifest(int fd, absl::string_view name);
  friend std::vector<absl::Status> verify_image(const std::string& path,
                                                const std::function<void(uint64_t done, uint64_t total)>& progress);
  UniqueFd fd_;
  std::string name_;
  Manifest manifest_;
};

// ImageReader::verify for images that are too damaged to be opened; `path` as for ImageReader::open. Empty: all is
// well.
std::vector<absl::Status> verify_image(const std::string& path,
                                       const std::function<void(uint64_t done, uint64_t total)>& progress = nullptr);

// The newest image of the directory that verifies, and what is wrong with those above it.
struct RejectedImage {
  std::string name;  // "ckpt-00000042"
  std::vector<absl::Status> reasons;
};
struct NewestVerifying {
  std::optional<ImageReader> image;     // nullopt: there are no images, or none verifies
  std::vector<RejectedImage> rejected;  // newest first
};
absl::StatusOr<NewestVerifying> newest_verifying(const JobDirectory& directory);

// XXH3-64 of each 4 MiB of the file.
absl::StatusOr<std::vector<uint64_t>> checksum_file(int fd, absl::string_view what);
uint64_t checksum(absl::string_view bytes);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_IMAGE_H_
