#include "helper/image/stored_files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"
#include "helper/image/checksum.h"
#include "helper/image/files.h"
#include "helper/image/image.h"
#include "helper/image/image_layout.h"
#include "helper/image/job_lock.h"
#include "helper/image/names.h"
#include "helper/image/storage_error.h"
#include "helper/image/stored_sources.h"

namespace stillpoint::image {
namespace {

constexpr int kAttempts = 8;  // each lost to another process that stores or deletes the same name

std::string stored_label(absl::string_view job, absl::string_view name) {
  return absl::StrCat(job, "/", kStoredFilesName, "/", name);
}

absl::StatusOr<UniqueFd> open_or_create_stored_files(const JobDirectory& directory) {
  const std::string label = absl::StrCat(directory.name(), "/", kStoredFilesName);
  absl::StatusOr<UniqueFd> existing = open_directory(directory.fd(), kStoredFilesName, label);
  if (!absl::IsNotFound(existing.status())) return existing;
  absl::StatusOr<UniqueFd> created = create_directory(directory.fd(), kStoredFilesName, label);
  if (absl::IsAlreadyExists(created.status())) return open_directory(directory.fd(), kStoredFilesName, label);
  if (created.ok()) RETURN_IF_ERROR(sync_file(directory.fd(), directory.name()));
  return created;
}

absl::StatusOr<FileEntry> describe_source(absl::string_view name, int fd, absl::string_view label) {
  struct stat stat = {};
  if (::fstat(fd, &stat) != 0) return errno_status(errno, absl::StrCat("fstat of the source of ", label));
  if (!S_ISREG(stat.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat("the source of ", label, " is not a regular file"));
  }
  FileEntry entry;
  entry.set_name(std::string(name));
  entry.set_size(static_cast<uint64_t>(stat.st_size));
  ASSIGN_OR_RETURN(const std::vector<uint64_t> chunks, checksum_file(fd, absl::StrCat("the source of ", label)));
  entry.mutable_chunks()->Add(chunks.begin(), chunks.end());
  return entry;
}

// By clone, in the kernel, or through a buffer; all without moving the offset of `source`, which may be shared.
absl::Status copy_content(int source, int target, uint64_t size, absl::string_view label) {
  if (!feature_disabled("reflink") && ::ioctl(target, FICLONE, source) == 0) return absl::OkStatus();
  uint64_t done = 0;
  while (!feature_disabled("copy_file_range") && done < size) {
    loff_t from = static_cast<loff_t>(done);
    loff_t to = static_cast<loff_t>(done);
    const ssize_t n = ::copy_file_range(source, &from, target, &to, size - done, 0);
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
      return storage_error(errno, absl::StrCat("write ", label));
    }
    if (n <= 0) break;  // between filesystems, or files of /proc kinds: go on by hand
    done += static_cast<uint64_t>(n);
  }
  if (done == size) return absl::OkStatus();
  ChunkBuffer buffer;
  if (::lseek(target, 0, SEEK_SET) < 0) return storage_error(errno, absl::StrCat("lseek in ", label));
  for (uint64_t chunk = 0; chunk < chunk_count(size, kChunkSize); ++chunk) {
    ASSIGN_OR_RETURN(const absl::string_view bytes, buffer.read(source, chunk, absl::StrCat("the source of ", label)));
    RETURN_IF_ERROR(write_bytes(target, bytes, label));
  }
  return absl::OkStatus();
}

struct TemporaryCopy {
  std::string name;
  UniqueFd fd;  // open as long as the name is wanted: it carries the mark of a living writer
};

// Copies under a temporary name, durable.
absl::StatusOr<TemporaryCopy> write_copy(const JobDirectory& job, int stored, const FileEntry& entry, int source) {
  const std::string label = stored_label(job.name(), entry.name());
  const std::string temporary = temporary_name("file");
  UniqueFd fd;
  {
    // Under the lock, so that nobody who removes leftovers sees the file before it is marked.
    ASSIGN_OR_RETURN(const JobLock lock, JobLock::acquire(job.fd(), job.name()));
    ASSIGN_OR_RETURN(fd, create_regular(stored, temporary, label));
    mark_alive(fd.get());
  }
  die_if_stage("image_store_copying");
  // A stored executable becomes /proc/PID/exe of a restored process, which the kernel wants to be executable.
  if (::fchmod(fd.get(), 0700) != 0) return storage_error(errno, absl::StrCat("fchmod ", label));
  absl::Status status = copy_content(source, fd.get(), entry.size(), label);
  if (status.ok()) {
    const absl::StatusOr<bool> same = has_content(fd.get(), entry, label);
    status = same.status();
    if (same.ok() && !*same)
      status = absl::AbortedError(absl::StrCat("the source of ", label, " changes while it is copied"));
  }
  if (status.ok()) status = sync_file(fd.get(), label);
  if (status.ok()) return TemporaryCopy{temporary, std::move(fd)};
  static_cast<void>(remove_tree(stored, temporary, label));  // the first error is the one to report
  return status;
}

enum class Existing { kAbsent, kSame, kDifferent };

absl::StatusOr<Existing> compare_existing(int stored, const FileEntry& entry, absl::string_view label) {
  const absl::StatusOr<UniqueFd> fd = open_regular(stored, entry.name(), label);
  if (absl::IsNotFound(fd.status())) return Existing::kAbsent;
  if (absl::IsDataLoss(fd.status())) return Existing::kDifferent;  // a link or the like in its place
  RETURN_IF_ERROR(fd.status());
  ASSIGN_OR_RETURN(const bool same, has_content(fd->get(), entry, label));
  return same ? Existing::kSame : Existing::kDifferent;
}

// True when a published image counts on the content that DIR/files/<name> has now. Two files can have one build-id:
// strip(1) keeps it.
absl::StatusOr<bool> is_needed_as_it_is(const JobDirectory& job, int stored, const std::string& name) {
  const std::string label = stored_label(job.name(), name);
  const absl::StatusOr<UniqueFd> fd = open_regular(stored, name, label);
  if (!fd.ok()) return false;
  ASSIGN_OR_RETURN(const std::vector<uint64_t> sequences, job.sequences());
  for (const uint64_t sequence : sequences) {
    const std::string image = image_name(sequence);
    const absl::StatusOr<UniqueFd> image_fd = open_directory(job.fd(), image, image);
    if (!image_fd.ok()) continue;
    const absl::StatusOr<Manifest> manifest = read_manifest(image_fd->get(), image);
    if (!manifest.ok()) continue;
    for (const FileEntry& entry : manifest->stored_files()) {
      if (entry.name() != name) continue;
      ASSIGN_OR_RETURN(const bool same, has_content(fd->get(), entry, label));
      if (same) return true;
    }
  }
  return false;
}

// A name for another file of the same build-id, made of its content.
std::string alternate_name(absl::string_view name, const FileEntry& entry) {
  const absl::string_view checksums(reinterpret_cast<const char*>(entry.chunks().data()),
                                    static_cast<size_t>(entry.chunks_size()) * sizeof(uint64_t));
  return absl::StrCat(name, "-", absl::Hex(checksum(checksums), absl::kZeroPad16));
}

// Gives the copy its name. False when somebody else was faster.
absl::StatusOr<bool> enter(const JobDirectory& job, int stored, const std::string& temporary, const FileEntry& entry,
                           bool replace) {
  const std::string label = stored_label(job.name(), entry.name());
  ASSIGN_OR_RETURN(const JobLock lock, JobLock::acquire(job.fd(), job.name()));
  struct stat stat = {};
  const bool present = ::fstatat(stored, entry.name().c_str(), &stat, AT_SYMLINK_NOFOLLOW) == 0;
  if (present && !replace) return false;
  if (present && S_ISDIR(stat.st_mode)) RETURN_IF_ERROR(remove_tree(stored, entry.name(), label));
  RETURN_IF_ERROR(rename_entry(stored, temporary, entry.name(), absl::StrCat(job.name(), "/", kStoredFilesName)));
  RETURN_IF_ERROR(sync_file(stored, absl::StrCat(job.name(), "/", kStoredFilesName)));
  return true;
}

// For the next checkpoint; where the copy cannot be asked, that one compares once more.
FileEntry remembered(int stored, const struct stat& source, FileEntry entry) {
  struct stat copy = {};
  if (::fstatat(stored, entry.name().c_str(), &copy, AT_SYMLINK_NOFOLLOW) == 0) remember_source(source, copy, entry);
  return entry;
}

}  // namespace

absl::StatusOr<bool> has_content(int fd, const FileEntry& entry, absl::string_view label) {
  struct stat stat = {};
  if (::fstat(fd, &stat) != 0) return storage_error(errno, absl::StrCat("stat ", label));
  if (static_cast<uint64_t>(stat.st_size) != entry.size()) return false;
  ASSIGN_OR_RETURN(const std::vector<uint64_t> chunks, checksum_file(fd, label));
  return chunks == std::vector<uint64_t>(entry.chunks().begin(), entry.chunks().end());
}

absl::StatusOr<FileEntry> JobDirectory::store_file(absl::string_view name, int source_fd) const {
  if (!is_stored_name(name)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", absl::CHexEscape(name), "\" is not a name for a stored file"));
  }
  struct stat source = {};
  if (::fstat(source_fd, &source) != 0) {
    return errno_status(errno, absl::StrCat("fstat of the source of ", stored_label(name_, name)));
  }
  ASSIGN_OR_RETURN(FileEntry entry, describe_source(name, source_fd, stored_label(name_, name)));
  ASSIGN_OR_RETURN(const UniqueFd stored, open_or_create_stored_files(*this));
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::string label = stored_label(name_, entry.name());
    ASSIGN_OR_RETURN(const Existing existing, compare_existing(stored.get(), entry, label));
    if (existing == Existing::kSame) {
      RETURN_IF_ERROR(sync_file(stored.get(), label));  // whoever renamed it may not have come to that
      return remembered(stored.get(), source, std::move(entry));
    }
    if (existing == Existing::kDifferent) {
      ASSIGN_OR_RETURN(const bool needed, is_needed_as_it_is(*this, stored.get(), entry.name()));
      if (needed) {
        entry.set_name(alternate_name(name, entry));
        continue;
      }
    }
    ASSIGN_OR_RETURN(const TemporaryCopy copy, write_copy(*this, stored.get(), entry, source_fd));
    die_if_stage("image_store_copied");
    const absl::StatusOr<bool> entered = enter(*this, stored.get(), copy.name, entry, existing == Existing::kDifferent);
    if (entered.ok() && *entered) return remembered(stored.get(), source, std::move(entry));
    static_cast<void>(remove_tree(stored.get(), copy.name, label));
    RETURN_IF_ERROR(entered.status());
  }
  return absl::AbortedError(absl::StrCat(stored_label(name_, name), " is changed by others again and again"));
}

absl::Status check_stored_files(int job_directory, const Manifest& manifest, absl::string_view label) {
  if (manifest.stored_files().empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const UniqueFd stored,
                   open_directory(job_directory, kStoredFilesName, absl::StrCat(label, "/", kStoredFilesName)));
  for (const FileEntry& entry : manifest.stored_files()) {
    const std::string file = stored_label(label, entry.name());
    ASSIGN_OR_RETURN(const UniqueFd fd, open_regular(stored.get(), entry.name(), file));
    struct stat stat = {};
    if (::fstat(fd.get(), &stat) != 0) return storage_error(errno, absl::StrCat("stat ", file));
    if (static_cast<uint64_t>(stat.st_size) != entry.size()) {
      return absl::DataLossError(absl::StrCat(file, " has ", stat.st_size, " bytes instead of ", entry.size()));
    }
  }
  return absl::OkStatus();
}

absl::Status remove_stored_files_except(int job_directory, const std::set<std::string>& needed,
                                        absl::string_view label) {
  const std::string directory_label = absl::StrCat(label, "/", kStoredFilesName);
  const absl::StatusOr<UniqueFd> stored = open_directory(job_directory, kStoredFilesName, directory_label);
  if (absl::IsNotFound(stored.status())) return absl::OkStatus();
  RETURN_IF_ERROR(stored.status());
  ASSIGN_OR_RETURN(const std::vector<std::string> names, list_directory(stored->get(), directory_label));
  for (const std::string& name : names) {
    if (!is_stored_name(name) || needed.contains(name)) continue;
    RETURN_IF_ERROR(remove_tree(stored->get(), name, stored_label(label, name)));
  }
  return absl::OkStatus();
}

}  // namespace stillpoint::image
