// Open regular files.
//
// Contents of files that have a name are not in the image, so the file is compared with what it was at the dump:
//   opened for writing, only grown    truncated back to its size at the dump: what the program wrote after the
//                                     checkpoint it writes again (O_APPEND or not)
//   opened for writing, shorter       error: what the program wrote before the checkpoint is gone
//   opened for writing, another inode taken when both ends of the content match (a copy): a note; else an error
//   opened for writing, same size     taken; a note when the ends of the content differ
//   opened for reading                taken; a note when size or mtime differ
//   vanished                          error
// Nothing is truncated before all else of the process is there again (commit).
//
// A file without a name (unlinked, or another one renamed over it) travels with its content, holes kept, up to
// kLargestDeletedFile, and comes back without a name in the same directory.
//
// Standard streams that the starter redirected to a file are the starter's: `stillpoint restart` gives its own.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/base/nanoseconds.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/deleted_file.h"
#include "helper/resources/detail.h"
#include "helper/resources/fdinfo.h"
#include "helper/resources/file_fingerprint.h"
#include "helper/resources/inherited.h"
#include "helper/resources/kinds.h"
#include "helper/resources/printable.h"
#include "helper/resources/regular_file.pb.h"
#include "helper/resources/reopen.h"
#include "helper/resources/same_file.h"

namespace stillpoint {
namespace {

using resources::Fingerprint;
using resources::RegularFileDetail;

constexpr char kCloseAround[] =
    "close it in a hook (stillpoint::on_pre_dump) and open it again in stillpoint::on_post_resume and "
    "stillpoint::on_post_restore";

bool writable(uint32_t flags) { return (flags & O_ACCMODE) != O_RDONLY; }

bool starters(const OpenFileView& file, const OpenFileDumpContext& context) {
  return inherited_number(file) <= 2 && context.inherited(file) && starter_holds(file);
}

// The name the file has now; nothing when it has none, or one that cannot be found.
std::optional<std::string> current_path(const OpenFileView& file) {
  if (link_is_current(file)) return file.link;
  OpenFileView relinked = file;
  relinked.link = std::string(absl::StripSuffix(file.link, " (deleted)"));
  if (link_is_current(relinked)) return relinked.link;
  return std::nullopt;
}

// False when the mount the file was opened on is no longer among the process's mounts.
bool mounted(const OpenFileView& file) {
  const absl::StatusOr<int64_t> id = fdinfo_signed(file, "mnt_id");
  const absl::StatusOr<std::vector<procfs::Mount>> mounts = procfs::read_mountinfo(file.pid);
  if (!id.ok() || !mounts.ok()) return true;
  for (const procfs::Mount& mount : *mounts) {
    if (mount.id == *id) return true;
  }
  return false;
}

void audit_nameless(const OpenFileView& file, Findings& findings) {
  if (file.stat.st_nlink > 0 && !mounted(file)) {
    findings.add({"SP-FILE-UNMOUNTED", describe(file), "its filesystem was unmounted while the file was open",
                  absl::StrCat(kCloseAround, ", or mount the filesystem again before the checkpoint")});
    return;
  }
  if (file.stat.st_nlink > 0 && writable(file.flags)) {
    findings.add({"SP-FILE-LINKED-ELSEWHERE", describe(file),
                  "it is open for writing and its name is gone or leads to another file, while it still has a name "
                  "that the kernel does not tell",
                  absl::StrCat("open it by the name it has now, or ", kCloseAround)});
    return;
  }
  if (static_cast<uint64_t>(file.stat.st_size) > kLargestDeletedFile) {
    findings.add({"SP-FILE-DELETED-LARGE", describe(file),
                  absl::StrCat("it has no name, and its ", file.stat.st_size, " bytes are more than the ",
                               kLargestDeletedFile, " that an image takes of a deleted file"),
                  absl::StrCat("keep the file's name until the program is done with it, or ", kCloseAround)});
    return;
  }
  if (const absl::StatusOr<UniqueFd> content = open_for_reading(file); !content.ok()) {
    findings.add({"SP-FILE-DELETED-UNREADABLE", describe(file),
                  absl::StrCat("it has no name, and its content cannot be read: ", content.status().message()),
                  absl::StrCat("give the file read permission for its owner, or ", kCloseAround)});
  }
}

RegularFileDetail attributes(const OpenFileView& file) {
  RegularFileDetail detail;
  detail.set_position(file.pos);
  detail.set_inode(file.stat.st_ino);
  detail.set_device(file.stat.st_dev);
  detail.set_size(static_cast<uint64_t>(file.stat.st_size));
  detail.set_mtime_ns(to_nanoseconds(file.stat.st_mtim));
  detail.set_ctime_ns(to_nanoseconds(file.stat.st_ctim));
  detail.set_mode(file.stat.st_mode);
  return detail;
}

absl::Status dump_deleted(const OpenFileView& file, const OpenFileDumpContext& context, RegularFileDetail& detail) {
  detail.set_path(std::string(absl::StripSuffix(file.link, " (deleted)")));
  const uint64_t first = lowest_description(file, context);
  detail.mutable_deleted()->set_first_description(first);
  if (first != context.open_file_of(file.pid, file.number)) return absl::OkStatus();
  if (detail.size() > kLargestDeletedFile) {
    return absl::FailedPreconditionError(absl::StrCat(describe(file), ": deleted and too large for an image"));
  }
  ASSIGN_OR_RETURN(const UniqueFd content, open_for_reading(file));
  return read_deleted_file(content.get(), detail.size(), describe(file), *detail.mutable_deleted());
}

void dump_fingerprint(const OpenFileView& file, RegularFileDetail& detail) {
  const absl::StatusOr<UniqueFd> content = open_for_reading(file);
  if (!content.ok()) return;  // write-only for its owner: compared by inode and size alone
  detail.set_pseudo(on_pseudo_filesystem(content->get()));
  if (detail.pseudo() || !writable(file.flags)) return;
  absl::StatusOr<Fingerprint> ends = fingerprint(content->get(), detail.size(), describe(file));
  if (ends.ok()) *detail.mutable_fingerprint() = *std::move(ends);
}

enum class Content { kSame, kDifferent, kUnknown };

// Whether the first `detail.size()` bytes of the file look like those at the dump.
Content compare_content(int fd, const RegularFileDetail& detail) {
  if (!detail.has_fingerprint()) return Content::kUnknown;
  const absl::StatusOr<UniqueFd> reader = reopen_fd(fd, O_RDONLY, "");
  if (!reader.ok()) return Content::kUnknown;
  const absl::StatusOr<Fingerprint> now = fingerprint(reader->get(), detail.size(), "");
  if (!now.ok()) return Content::kDifferent;
  const Fingerprint& then = detail.fingerprint();
  return now->head() == then.head() && now->tail() == then.tail() ? Content::kSame : Content::kDifferent;
}

// Whoever restores the file puts its description in front, which has the path it had at the checkpoint.
absl::Status refused(const RegularFileDetail& detail, const std::string& path, absl::string_view why) {
  return absl::FailedPreconditionError(
      absl::StrCat(path == detail.path() ? "the file" : printable(path), " ", why,
                   "; put back the file as it was at the checkpoint, or name a copy of it with --map-path OLD=NEW"));
}

absl::Status check_written_file(const RegularFileDetail& detail, const std::string& path, int fd,
                                const struct stat& now, OpenFileRestoreContext& context) {
  const uint64_t size = static_cast<uint64_t>(now.st_size);
  if (size < detail.size()) {
    return refused(detail, path,
                   absl::StrCat("is shorter than at the checkpoint (", size, " of ", detail.size(), " bytes)"));
  }
  const bool replaced = now.st_ino != detail.inode() || now.st_dev != detail.device();
  const Content content = compare_content(fd, detail);
  if (replaced && content == Content::kDifferent)
    return refused(detail, path, "was replaced by a file with other content");
  if (replaced && detail.size() == 0 && size > 0) {
    return refused(detail, path,
                   absl::StrCat("was empty at the checkpoint and was replaced by a file of ", size, " bytes"));
  }
  if (replaced) {
    context.note(absl::StrCat(printable(path), ": another file than at the checkpoint, taken as a copy of it"));
  } else if (content == Content::kDifferent) {
    context.note(absl::StrCat(printable(path), ": its content was changed in place since the checkpoint"));
  }
  return absl::OkStatus();
}

void compare_read_file(const RegularFileDetail& detail, const std::string& path, const struct stat& now,
                       OpenFileRestoreContext& context) {
  if (static_cast<uint64_t>(now.st_size) != detail.size()) {
    context.note(absl::StrCat(printable(path), ": open for reading, its size changed from ", detail.size(), " to ",
                              now.st_size, " bytes since the checkpoint"));
  } else if (to_nanoseconds(now.st_mtim) != detail.mtime_ns()) {
    context.note(absl::StrCat(printable(path), ": open for reading, it was modified since the checkpoint"));
  }
}

absl::StatusOr<UniqueFd> restore_named(const model::OpenFile& file, const RegularFileDetail& detail,
                                       const std::string& path, OpenFileRestoreContext& context) {
  // O_NONBLOCK: a FIFO in the file's place must not hold up the restore. O_DIRECTORY is left by O_TMPFILE.
  absl::StatusOr<UniqueFd> fd = reopen_path(path, (file.flags() & ~uint32_t{O_DIRECTORY | O_PATH}) | O_NONBLOCK);
  if (absl::IsNotFound(fd.status())) return refused(detail, path, "has vanished since the checkpoint");
  if (!fd.ok()) return with_context(fd.status(), describe(file));
  struct stat now = {};
  if (::fstat(fd->get(), &now) != 0) return errno_status(errno, absl::StrCat("fstat of ", describe(file)));
  if (!S_ISREG(now.st_mode)) return refused(detail, path, "is no longer a regular file");
  if (detail.pseudo()) return fd;
  if (writable(file.flags())) {
    RETURN_IF_ERROR(check_written_file(detail, path, fd->get(), now, context));
  } else {
    compare_read_file(detail, path, now, context);
  }
  return fd;
}

absl::StatusOr<UniqueFd> restore_deleted(const model::OpenFile& file, const RegularFileDetail& detail,
                                         const std::string& path, OpenFileRestoreContext& context) {
  const uint64_t first = detail.deleted().first_description();
  if (first == file.id()) {
    ASSIGN_OR_RETURN(const UniqueFd content, create_deleted_file(file, detail, path, context));
    return reopen_fd(content.get(), file.flags(), describe(file));
  }
  const int content = context.fd_of(first);
  struct stat found = {};
  if (content < 0 || ::fstat(content, &found) != 0 || !S_ISREG(found.st_mode)) {
    return damaged_detail(file, absl::StrCat("open file ", first, ", which holds its content, is not there"));
  }
  return reopen_fd(content, file.flags(), describe(file));
}

class RegularFileKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "file"; }

  bool claims(const OpenFileView& file) const override {
    return S_ISREG(file.stat.st_mode) && absl::StartsWith(file.link, "/");
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext& context, Findings& findings) const override {
    if (!starters(file, context) && !current_path(file).has_value()) audit_nameless(file, findings);
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext& context, model::OpenFile& out) const override {
    if (starters(file, context)) return dump_inherited(file, out);
    RegularFileDetail detail = attributes(file);
    const std::optional<std::string> path = current_path(file);
    if (path.has_value()) {
      detail.set_path(*path);
      dump_fingerprint(file, detail);
    } else {
      RETURN_IF_ERROR(dump_deleted(file, context, detail));
    }
    return store_detail(detail, file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const RegularFileDetail detail, parse_detail<RegularFileDetail>(file));
    RETURN_IF_ERROR(check_path(file, detail.path()));
    const std::string path = context.map_path(detail.path());
    ASSIGN_OR_RETURN(UniqueFd fd, detail.has_deleted() ? restore_deleted(file, detail, path, context)
                                                       : restore_named(file, detail, path, context));
    RETURN_IF_ERROR(set_position(fd.get(), detail.position(), describe(file)));
    return fd;
  }

  absl::Status finish(const model::OpenFile& file, int fd, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const RegularFileDetail detail, parse_detail<RegularFileDetail>(file));
    if (detail.pseudo()) return absl::OkStatus();
    if (detail.has_deleted()) {
      // Not earlier: the mode may forbid what the other descriptions of this file are opened for.
      if (::fchmod(fd, detail.mode() & 07777) != 0)
        return errno_status(errno, absl::StrCat("fchmod of ", describe(file)));
      return absl::OkStatus();
    }
    if (!writable(file.flags())) return absl::OkStatus();
    struct stat now = {};
    if (::fstat(fd, &now) != 0) return errno_status(errno, absl::StrCat("fstat of ", describe(file)));
    if (static_cast<uint64_t>(now.st_size) <= detail.size()) return absl::OkStatus();
    context.note(absl::StrCat(printable(context.map_path(detail.path())), ": truncated from ", now.st_size, " back to ",
                              detail.size(), " bytes, its size at the checkpoint"));
    return absl::OkStatus();
  }

  absl::Status commit(const model::OpenFile& file, int fd) const override {
    ASSIGN_OR_RETURN(const RegularFileDetail detail, parse_detail<RegularFileDetail>(file));
    if (detail.pseudo() || detail.has_deleted() || !writable(file.flags())) return absl::OkStatus();
    struct stat now = {};
    if (::fstat(fd, &now) != 0) return errno_status(errno, absl::StrCat("fstat of ", describe(file)));
    if (static_cast<uint64_t>(now.st_size) <= detail.size()) return absl::OkStatus();
    if (::ftruncate(fd, static_cast<off_t>(detail.size())) != 0) {
      return errno_status(errno, absl::StrCat("ftruncate of ", describe(file), " back to ", detail.size(), " bytes"));
    }
    return absl::OkStatus();
  }
};

}  // namespace

const OpenFileKind& regular_file_kind() {
  static const auto& kind = *new RegularFileKind;
  return kind;
}

}  // namespace stillpoint
