// Open directories. The getdents(2) position is the filesystem's own cookie: it is set again, and where the
// directory is another one by then a note says that a listing in progress may miss or repeat names.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/directory.pb.h"
#include "helper/resources/kinds.h"
#include "helper/resources/printable.h"
#include "helper/resources/reopen.h"
#include "helper/resources/same_file.h"

namespace stillpoint {
namespace {

using resources::DirectoryDetail;

class DirectoryKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "directory"; }
  bool claims(const OpenFileView& file) const override { return S_ISDIR(file.stat.st_mode); }

  void audit(const OpenFileView& file, const OpenFileDumpContext&, Findings& findings) const override {
    if (link_is_current(file)) return;
    findings.add({"SP-DIRECTORY-DELETED", describe(file),
                  "the directory was removed, or its filesystem unmounted or mounted over, while it was open",
                  "close it in a stillpoint::on_pre_dump hook"});
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext&, model::OpenFile& out) const override {
    DirectoryDetail detail;
    detail.set_path(file.link);
    detail.set_position(file.pos);
    detail.set_inode(file.stat.st_ino);
    detail.set_device(file.stat.st_dev);
    return store_detail(detail, file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const DirectoryDetail detail, parse_detail<DirectoryDetail>(file));
    RETURN_IF_ERROR(check_path(file, detail.path()));
    const std::string path = context.map_path(detail.path());
    absl::StatusOr<UniqueFd> fd = reopen_path(path, (file.flags() & ~uint32_t{O_PATH}) | O_DIRECTORY);
    if (!fd.ok()) {
      return with_context(fd.status(), absl::StrCat(describe(file),
                                                    ": the directory must be there again, or be "
                                                    "named with --map-path OLD=NEW"));
    }
    if (detail.position() == 0) return fd;
    struct stat now = {};
    if (::fstat(fd->get(), &now) != 0) return errno_status(errno, absl::StrCat("fstat of ", describe(file)));
    const absl::Status positioned = set_position(fd->get(), detail.position(), describe(file));
    if (!positioned.ok() || now.st_ino != detail.inode() || now.st_dev != detail.device()) {
      context.note(absl::StrCat(printable(path),
                                ": another directory than at the checkpoint; a listing in progress "
                                "may miss or repeat names"));
    }
    return fd;
  }
};

}  // namespace

const OpenFileKind& directory_kind() {
  static const auto& kind = *new DirectoryKind;
  return kind;
}

}  // namespace stillpoint
