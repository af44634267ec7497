// Kernel objects that no release saves yet: each is a finding of its own, never an error in the middle of a dump.
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/resources/detail.h"
#include "helper/resources/kinds.h"

namespace stillpoint {
namespace {

constexpr long kMqueueMagic = 0x19800202;

struct Unsupported {
  absl::string_view link_prefix;
  absl::string_view code;
  absl::string_view reason;
};

constexpr Unsupported kUnsupported[] = {
    {"anon_inode:[io_uring]", "SP-IOURING",
     "an io_uring has requests and registered memory that only the kernel knows"},
    {"anon_inode:[userfaultfd]", "SP-USERFAULTFD", "page faults of the program go through it"},
    {"anon_inode:[perf_event]", "SP-PERF", "performance counters belong to this machine's processors"},
    {"anon_inode:bpf", "SP-BPF", "bpf programs, maps and links live in the kernel"},
    {"anon_inode:[bpf", "SP-BPF", "bpf programs, maps and links live in the kernel"},
    {"anon_inode:[fanotify]", "SP-FANOTIFY", "its marks and the events it holds up cannot be saved"},
    {"/secretmem", "SP-SECRETMEM", "memfd_secret(2) memory is hidden from the kernel itself"},
    {"/dmabuf:", "SP-DEVICE", "a DMA buffer is memory of a device"},
};

const Unsupported* find_unsupported(const OpenFileView& file) {
  for (const Unsupported& kind : kUnsupported) {
    if (absl::StartsWith(file.link, kind.link_prefix)) return &kind;
  }
  return nullptr;
}

long filesystem_of(const OpenFileView& file) {
  struct statfs filesystem = {};
  const std::string path = absl::StrCat("/proc/", file.pid, "/fd/", file.number);
  return ::statfs(path.c_str(), &filesystem) == 0 ? filesystem.f_type : 0;
}

constexpr char kCloseAround[] =
    "close it in a stillpoint::on_pre_dump hook and make it again in stillpoint::on_post_resume and "
    "stillpoint::on_post_restore";

class UnsupportedFileKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "unsupported"; }

  bool claims(const OpenFileView& file) const override {
    if (find_unsupported(file) != nullptr) return true;
    if (!S_ISREG(file.stat.st_mode)) return false;
    const long filesystem = filesystem_of(file);
    return filesystem == kMqueueMagic || filesystem == NSFS_MAGIC;
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext&, Findings& findings) const override {
    if (const Unsupported* kind = find_unsupported(file); kind != nullptr) {
      findings.add({std::string(kind->code), describe(file), std::string(kind->reason), kCloseAround});
    } else if (filesystem_of(file) == kMqueueMagic) {
      findings.add({"SP-MQUEUE", describe(file), "a POSIX message queue belongs to the whole system", kCloseAround});
    } else {
      findings.add({"SP-NAMESPACE-FD", describe(file), "it stands for a namespace", kCloseAround});
    }
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext&, model::OpenFile&) const override {
    return absl::FailedPreconditionError(absl::StrCat(describe(file), " cannot be saved"));
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext&) const override {
    return damaged_detail(file, "of a kind that is never in an image");
  }
};

// Anonymous inodes by their name, and whatever a later kernel brings.
class UnknownFileKind : public UnsupportedFileKind {
 public:
  absl::string_view name() const override { return "unknown"; }
  bool claims(const OpenFileView&) const override { return true; }

  void audit(const OpenFileView& file, const OpenFileDumpContext&, Findings& findings) const override {
    const bool anonymous = absl::StartsWith(file.link, "anon_inode:");
    findings.add({anonymous ? "SP-ANON-INODE" : "SP-FILE-UNKNOWN", describe(file),
                  absl::StrCat("this release does not know how to save ", anonymous ? "this kernel object" : "it",
                               " (file type ", absl::Hex(file.stat.st_mode & S_IFMT), ")"),
                  kCloseAround});
  }
};

}  // namespace

const OpenFileKind& unsupported_file_kind() {
  static const auto& kind = *new UnsupportedFileKind;
  return kind;
}

const OpenFileKind& unknown_file_kind() {
  static const auto& kind = *new UnknownFileKind;
  return kind;
}

}  // namespace stillpoint
