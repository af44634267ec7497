// O_PATH descriptors: a place in the file tree, whatever stands there. They have no offset and no status flags
// besides O_PATH, O_DIRECTORY and O_NOFOLLOW.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/kinds.h"
#include "helper/resources/path_fd.pb.h"
#include "helper/resources/printable.h"
#include "helper/resources/reopen.h"
#include "helper/resources/same_file.h"

namespace stillpoint {
namespace {

using resources::PathFdDetail;

class PathFdKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "path"; }
  bool claims(const OpenFileView& file) const override {
    return (file.flags & O_PATH) != 0 && !absl::StartsWith(file.link, "/proc/");  // those are the proc_file kind's
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext&, Findings& findings) const override {
    if (link_is_current(file)) return;
    findings.add({"SP-PATH-FD", describe(file),
                  "it was opened with O_PATH, and no path leads to what it stands for any more",
                  "close it in a stillpoint::on_pre_dump hook"});
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext&, model::OpenFile& out) const override {
    PathFdDetail detail;
    detail.set_path(file.link);
    detail.set_mode(file.stat.st_mode);
    return store_detail(detail, file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const PathFdDetail detail, parse_detail<PathFdDetail>(file));
    RETURN_IF_ERROR(check_path(file, detail.path()));
    const std::string path = context.map_path(detail.path());
    // The path is the object's own: a symlink at its end is what the descriptor stood for.
    const uint32_t no_follow = S_ISLNK(detail.mode()) ? O_NOFOLLOW : 0;
    absl::StatusOr<UniqueFd> fd = reopen_path(path, file.flags() | O_PATH | no_follow);
    if (!fd.ok()) {
      return with_context(fd.status(), absl::StrCat(describe(file),
                                                    ": the file must be there again, or be named with "
                                                    "--map-path OLD=NEW"));
    }
    struct stat now = {};
    if (::fstat(fd->get(), &now) != 0) return errno_status(errno, absl::StrCat("fstat of ", describe(file)));
    if ((now.st_mode & S_IFMT) != (detail.mode() & S_IFMT)) {
      return absl::FailedPreconditionError(
          absl::StrCat(describe(file), ": ", printable(path), " is of another type than at the checkpoint"));
    }
    return fd;
  }
};

}  // namespace

const OpenFileKind& path_fd_kind() {
  static const auto& kind = *new PathFdKind;
  return kind;
}

}  // namespace stillpoint
