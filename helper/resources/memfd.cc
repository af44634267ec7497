// memfds. The memory (size, seals, content) is the memory side's; here are the descriptions of it, each with its own
// access mode and offset.
#include <fcntl.h>
#include <sys/stat.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/kinds.h"
#include "helper/resources/memfd.pb.h"
#include "helper/resources/reopen.h"

namespace stillpoint {
namespace {

using resources::MemfdDetail;

class MemfdKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "memfd"; }
  bool claims(const OpenFileView& file) const override {
    return S_ISREG(file.stat.st_mode) && file.stat.st_nlink == 0 && absl::StartsWith(file.link, "/memfd:");
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext&, Findings& findings) const override {
    if (file.fd >= 0) return;
    findings.add({"SP-MEMFD-OPAQUE", describe(file), "its memory can only be read where pidfd_getfd is permitted",
                  "let the helper trace the process (same user, or the capability cap_sys_ptrace), on Linux 5.6 or "
                  "newer"});
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext& context, model::OpenFile& out) const override {
    MemfdDetail detail;
    ASSIGN_OR_RETURN(const uint64_t id, context.shared_memory_of(file));
    detail.set_shared_memory(id);
    detail.set_position(file.pos);
    return store_detail(detail, file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const MemfdDetail detail, parse_detail<MemfdDetail>(file));
    absl::StatusOr<UniqueFd> memory = context.shared_memory_fd(detail.shared_memory());
    if (!memory.ok()) return with_context(memory.status(), describe(file));
    ASSIGN_OR_RETURN(UniqueFd fd, reopen_fd(memory->get(), file.flags(), describe(file)));
    RETURN_IF_ERROR(set_position(fd.get(), detail.position(), describe(file)));
    return fd;
  }
};

}  // namespace

const OpenFileKind& memfd_kind() {
  static const auto& kind = *new MemfdKind;
  return kind;
}

}  // namespace stillpoint
