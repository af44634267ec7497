#include "helper/resources/inherited.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/detail.h"
#include "helper/resources/inherited.pb.h"
#include "helper/resources/kinds.h"
#include "helper/resources/same_file.h"

namespace stillpoint {

using resources::InheritedDetail;

namespace {

class InheritedKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "inherited"; }
  // Whether an object is the starter's is for the kind it is of to say.
  bool claims(const OpenFileView&) const override { return false; }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext&, model::OpenFile& out) const override {
    return dump_inherited(file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const InheritedDetail detail, parse_detail<InheritedDetail>(file));
    RETURN_IF_ERROR(check_fd_number(file, detail.number()));
    if (detail.lost_bytes() > 0) {
      context.note(absl::StrCat(file.description(), ": ", detail.lost_bytes(),
                                " bytes that waited in the starter's pipe are not in the image"));
    }
    absl::StatusOr<UniqueFd> fd = context.inherited_fd(detail.number());
    if (!fd.ok()) return with_context(fd.status(), describe(file));
    RETURN_IF_ERROR(keep_nonblocking(file, fd->get()));
    return fd;
  }

 private:
  // A program that made its standard input non-blocking counts on it. Nothing else is changed: the restarter's flags
  // (O_APPEND of its log) are shared with whoever started it.
  static absl::Status keep_nonblocking(const model::OpenFile& file, int fd) {
    if ((file.flags() & O_NONBLOCK) == 0) return absl::OkStatus();
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
      return errno_status(errno, absl::StrCat("fcntl(F_SETFL) of ", describe(file)));
    }
    return absl::OkStatus();
  }
};

// Whatever is inherited is what the tree's root was given.
pid_t root_of(const OpenFileView& file) { return file.root != 0 ? file.root : file.pid; }

}  // namespace

int inherited_number(const OpenFileView& file) {
  const pid_t root = root_of(file);
  for (const int number : file.numbers) {
    if (number <= STDERR_FILENO && file.pid == root) return number;
  }
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    const std::optional<struct stat> stream = stat_fd(root, number);
    if (stream.has_value() && same_inode(*stream, file.stat) && stream->st_rdev == file.stat.st_rdev) return number;
  }
  return file.number;
}

bool starter_holds(const OpenFileView& file) {
  const absl::StatusOr<procfs::Stat> process = procfs::read_stat(root_of(file));
  if (!process.ok() || process->parent_pid <= 0) return false;
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    const std::optional<struct stat> stream = stat_fd(process->parent_pid, number);
    if (stream.has_value() && same_inode(*stream, file.stat)) return true;
  }
  return false;
}

absl::Status dump_inherited(const OpenFileView& file, model::OpenFile& out, uint64_t lost_bytes) {
  InheritedDetail detail;
  detail.set_number(inherited_number(file));
  detail.set_lost_bytes(lost_bytes);
  out.set_kind(std::string(inherited_kind().name()));
  return store_detail(detail, file, out);
}

const OpenFileKind& inherited_kind() {
  static const auto& kind = *new InheritedKind;
  return kind;
}

}  // namespace stillpoint
