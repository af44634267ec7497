// signalfds: the mask. What they would read is pending at the threads, where it is saved.
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/fdinfo.h"
#include "helper/resources/kinds.h"
#include "helper/resources/signalfd.pb.h"

namespace stillpoint {
namespace {

using resources::SignalfdDetail;

class SignalfdKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "signalfd"; }
  bool claims(const OpenFileView& file) const override { return file.link == "anon_inode:[signalfd]"; }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext&, model::OpenFile& out) const override {
    SignalfdDetail detail;
    ASSIGN_OR_RETURN(const uint64_t mask, fdinfo_unsigned(file, "sigmask", 16));
    detail.set_mask(mask);
    return store_detail(detail, file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext&) const override {
    ASSIGN_OR_RETURN(const SignalfdDetail detail, parse_detail<SignalfdDetail>(file));
    const uint64_t mask = detail.mask();
    // The kernel's set of 64 signals; the C library's sigset_t is larger and keeps two of its own out.
    UniqueFd fd(static_cast<int>(::syscall(SYS_signalfd4, -1, &mask, sizeof mask, SFD_CLOEXEC)));
    if (!fd.valid()) return errno_status(errno, absl::StrCat("signalfd4 for ", describe(file)));
    return fd;
  }
};

}  // namespace

const OpenFileKind& signalfd_kind() {
  static const auto& kind = *new SignalfdKind;
  return kind;
}

}  // namespace stillpoint
