#include "helper/resources/inherited.h"

#include <unistd.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/detail.h"
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
    return store_detail(inherited_detail(file), file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const InheritedDetail detail, parse_detail<InheritedDetail>(file));
    return restore_inherited(file, detail, context);
  }
};

}  // namespace

int inherited_number(const OpenFileView& file) {
  for (const int number : file.numbers) {
    if (number <= STDERR_FILENO) return number;
  }
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    const std::optional<struct stat> stream = stat_fd(file.pid, number);
    if (stream.has_value() && same_inode(*stream, file.stat) && stream->st_rdev == file.stat.st_rdev) return number;
  }
  return file.number;
}

bool starter_holds(const OpenFileView& file) {
  const absl::StatusOr<procfs::Stat> process = procfs::read_stat(file.pid);
  if (!process.ok() || process->parent_pid <= 0) return false;
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    const std::optional<struct stat> stream = stat_fd(process->parent_pid, number);
    if (stream.has_value() && same_inode(*stream, file.stat)) return true;
  }
  return false;
}

InheritedDetail inherited_detail(const OpenFileView& file, uint64_t lost_bytes) {
  InheritedDetail detail;
  detail.set_number(inherited_number(file));
  detail.set_lost_bytes(lost_bytes);
  return detail;
}

absl::StatusOr<UniqueFd> restore_inherited(const model::OpenFile& file, const InheritedDetail& detail,
                                           OpenFileRestoreContext& context) {
  RETURN_IF_ERROR(check_fd_number(file, detail.number()));
  if (detail.lost_bytes() > 0) {
    context.note(absl::StrCat(file.description(), ": ", detail.lost_bytes(),
                              " bytes that waited in the starter's pipe are not in the image"));
  }
  absl::StatusOr<UniqueFd> fd = context.inherited_fd(detail.number());
  if (!fd.ok()) return with_context(fd.status(), describe(file));
  return fd;
}

const OpenFileKind& inherited_kind() {
  static const auto& kind = *new InheritedKind;
  return kind;
}

}  // namespace stillpoint
