#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"
#include "helper/image/files.h"
#include "helper/image/image.h"
#include "helper/image/job_lock.h"
#include "helper/image/latest.h"
#include "helper/image/manifest_file.h"
#include "helper/image/names.h"
#include "helper/image/storage_error.h"
#include "helper/image/stored_files.h"

namespace stillpoint::image {
namespace {

absl::Status taken(absl::string_view directory, uint64_t sequence, absl::string_view how) {
  return absl::AlreadyExistsError(absl::StrCat(directory, "/", image_name(sequence), " ", how));
}

// Refuses a sequence number that is published or that a living process is writing.
absl::Status check_sequence_free(int directory, absl::string_view label, uint64_t sequence) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, list_directory(directory, label));
  for (const std::string& name : names) {
    if (name == image_name(sequence)) return taken(label, sequence, "exists already");
    if (temporary_sequence(name) == sequence && liveness(directory, name) == Liveness::kAlive) {
      return taken(label, sequence, "is being written by another process");
    }
  }
  return absl::OkStatus();
}

int64_t realtime_ns() {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);  // cannot fail for this clock
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

void sort_by_name(google::protobuf::RepeatedPtrField<FileEntry>* entries) {
  std::sort(entries->begin(), entries->end(),
            [](const FileEntry& a, const FileEntry& b) { return a.name() < b.name(); });
}

// rename(2) that never replaces. Where the filesystem does not know the flag (EINVAL) a plain rename does the same for
// image directories: one is never empty, and no rename replaces a directory that is not.
int rename_new(int directory, const std::string& from, const std::string& to) {
  if (!feature_disabled("renameat2")) {
    if (::renameat2(directory, from.c_str(), directory, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
  }
  return ::renameat(directory, from.c_str(), directory, to.c_str());
}

}  // namespace

absl::StatusOr<ImageWriter> ImageWriter::create(const JobDirectory& directory, uint64_t sequence) {
  if (sequence == 0 || sequence > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::InvalidArgumentError(absl::StrCat("an image cannot have the sequence number ", sequence));
  }
  ASSIGN_OR_RETURN(const JobLock lock, JobLock::acquire(directory.fd(), directory.name()));
  RETURN_IF_ERROR(check_sequence_free(directory.fd(), directory.name(), sequence));
  return create_locked(directory, sequence);
}

absl::StatusOr<ImageWriter> ImageWriter::create(const JobDirectory& directory) {
  ASSIGN_OR_RETURN(const JobLock lock, JobLock::acquire(directory.fd(), directory.name()));
  ASSIGN_OR_RETURN(const uint64_t sequence, directory.next_sequence());
  return create_locked(directory, sequence);
}

absl::StatusOr<ImageWriter> ImageWriter::create_locked(const JobDirectory& directory, uint64_t sequence) {
  ImageWriter writer;
  ASSIGN_OR_RETURN(writer.parent_, reopen_directory(directory.fd(), directory.name()));
  writer.directory_name_ = directory.name();
  writer.sequence_ = sequence;
  const std::string name = temporary_image_name(sequence);
  ASSIGN_OR_RETURN(writer.fd_,
                   create_directory(writer.parent_.get(), name, absl::StrCat(writer.directory_name_, "/", name)));
  writer.temporary_name_ = name;
  mark_alive(writer.fd_.get());
  die_if_stage("image_created");
  return writer;
}

ImageWriter::~ImageWriter() { discard(); }

void ImageWriter::discard() {
  if (!fd_.valid()) return;
  // What cannot be removed now, the next remove_leftovers() takes.
  if (!temporary_name_.empty()) static_cast<void>(remove_tree(parent_.get(), temporary_name_, label("")));
  temporary_name_.clear();
  created_.clear();
  fd_.reset();
}

std::string ImageWriter::label(absl::string_view file) const {
  return absl::StrCat(directory_name_, "/", temporary_name_, file.empty() ? "" : "/", file);
}

absl::StatusOr<UniqueFd> ImageWriter::create_file(absl::string_view name) {
  if (!is_file_name(name) || name == kManifestName) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(name), "\" is not a name for a file of an image"));
  }
  ASSIGN_OR_RETURN(UniqueFd fd, create_regular(fd_.get(), std::string(name), label(name)));
  UniqueFd own(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!own.valid()) return storage_error(errno, absl::StrCat("fcntl(F_DUPFD_CLOEXEC) on ", label(name)));
  created_.emplace_back(name, std::move(own));
  return fd;
}

void ImageWriter::add_file(absl::string_view name, uint64_t size, std::vector<uint64_t> chunk_checksums) {
  FileEntry& entry = files_.emplace_back();
  entry.set_name(std::string(name));
  entry.set_size(size);
  entry.mutable_chunks()->Add(chunk_checksums.begin(), chunk_checksums.end());
}

absl::Status ImageWriter::write_file(absl::string_view name, absl::string_view bytes) {
  ASSIGN_OR_RETURN(const UniqueFd fd, create_file(name));
  RETURN_IF_ERROR(write_bytes(fd.get(), bytes, label(name)));
  std::vector<uint64_t> chunks;
  for (absl::string_view rest = bytes; !rest.empty(); rest.remove_prefix(std::min(rest.size(), kChunkSize))) {
    chunks.push_back(checksum(rest.substr(0, kChunkSize)));
  }
  add_file(name, bytes.size(), std::move(chunks));
  return absl::OkStatus();
}

absl::Status ImageWriter::sync_files() const {
  for (const auto& [name, fd] : created_) {
    const auto entry = std::find_if(files_.begin(), files_.end(),
                                    [&name = name](const FileEntry& file) { return file.name() == name; });
    if (entry == files_.end()) return absl::InternalError(absl::StrCat(label(name), " was written without checksums"));
    struct stat stat = {};
    if (::fstat(fd.get(), &stat) != 0) return storage_error(errno, absl::StrCat("stat ", label(name)));
    if (static_cast<uint64_t>(stat.st_size) != entry->size()) {
      return absl::InternalError(absl::StrCat(label(name), " has ", stat.st_size, " bytes instead of ", entry->size()));
    }
    RETURN_IF_ERROR(sync_file(fd.get(), label(name)));
  }
  if (files_.size() != created_.size())
    return absl::InternalError(absl::StrCat(label(""), " has checksums of no file"));
  return absl::OkStatus();
}

absl::Status ImageWriter::write_manifest(Manifest& manifest) {
  manifest.set_format_version(kFormatVersion);
  manifest.set_sequence(sequence_);
  if (manifest.created_ns() == 0) manifest.set_created_ns(realtime_ns());
  manifest.mutable_files()->Assign(files_.begin(), files_.end());
  sort_by_name(manifest.mutable_files());
  sort_by_name(manifest.mutable_stored_files());
  ASSIGN_OR_RETURN(const std::string bytes, frame_manifest(manifest));
  // What readers would refuse is not published.
  RETURN_IF_ERROR(
      with_context(parse_manifest(bytes, label(kManifestName)).status(), "the manifest about to be written"));
  ASSIGN_OR_RETURN(const UniqueFd fd, create_regular(fd_.get(), kManifestName, label(kManifestName)));
  RETURN_IF_ERROR(write_bytes(fd.get(), bytes, label(kManifestName)));
  RETURN_IF_ERROR(sync_file(fd.get(), label(kManifestName)));
  die_if_stage("image_manifest_written");
  return sync_file(fd_.get(), label(""));
}

absl::Status ImageWriter::rename_into_place() {
  const std::string name = image_name(sequence_);
  const absl::StatusOr<std::optional<uint64_t>> previous = read_latest(parent_.get(), directory_name_);
  // A link that names no image is replaced; one that is ahead of us is left.
  const bool newest = !previous.ok() || previous->value_or(0) < sequence_;
  std::string link;
  if (newest) {
    ASSIGN_OR_RETURN(link, prepare_latest(parent_.get(), sequence_, directory_name_));
  }
  die_if_stage("image_latest_prepared");
  if (rename_new(parent_.get(), temporary_name_, name) != 0) {
    const int error = errno;
    if (newest) static_cast<void>(remove_tree(parent_.get(), link, link));
    if (error == EEXIST || error == ENOTEMPTY) {
      return taken(directory_name_, sequence_, "was published by another process meanwhile");
    }
    return storage_error(error, absl::StrCat("rename ", label(""), " to ", name));
  }
  die_if_stage("image_renamed");
  absl::Status status = sync_file(parent_.get(), directory_name_);
  die_if_stage("image_published");
  if (status.ok() && newest) status = rename_entry(parent_.get(), link, kLatestName, directory_name_);
  if (!status.ok()) {
    // Back under its temporary name, out of sight in one step. Should even that fail, it stays: a whole image.
    if (::renameat(parent_.get(), name.c_str(), parent_.get(), temporary_name_.c_str()) != 0) temporary_name_.clear();
    if (newest) static_cast<void>(remove_tree(parent_.get(), link, link));
    return status;
  }
  temporary_name_.clear();  // nothing to discard any more, not even when the last sync fails: `latest` names the image
  die_if_stage("image_latest_renamed");
  return newest ? sync_file(parent_.get(), directory_name_) : absl::OkStatus();
}

absl::StatusOr<std::string> ImageWriter::publish(Manifest manifest,
                                                 const std::function<absl::Status()>& before_publish) {
  if (!fd_.valid()) return absl::FailedPreconditionError("this image is published or discarded already");
  die_if_stage("image_files_written");
  absl::Status status = sync_files();
  die_if_stage("image_files_synced");
  if (status.ok()) status = write_manifest(manifest);
  die_if_stage("image_durable");
  if (status.ok()) {
    const absl::StatusOr<JobLock> lock = JobLock::acquire(parent_.get(), directory_name_);
    status = lock.status();
    if (status.ok()) status = check_stored_files(parent_.get(), manifest, directory_name_);
    if (status.ok() && before_publish != nullptr) status = before_publish();
    if (status.ok()) status = rename_into_place();
  }
  discard();  // when published: only lets go of the directory
  RETURN_IF_ERROR(status);
  return image_name(sequence_);
}

}  // namespace stillpoint::image
