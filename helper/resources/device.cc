// Devices. The virtual ones (null, zero, full, random, urandom) have no state and are opened again. Terminals are the
// starter's: `stillpoint restart` gives its own. Everything else has state that no kernel interface can save.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/device.pb.h"
#include "helper/resources/inherited.h"
#include "helper/resources/kinds.h"
#include "helper/resources/printable.h"
#include "helper/resources/remedies.h"
#include "helper/resources/reopen.h"
#include "helper/resources/same_file.h"

namespace stillpoint {
namespace {

using resources::DeviceDetail;

// Device numbers as Documentation/admin-guide/devices.txt hands them out.
struct VirtualDevice {
  unsigned minor;  // of major 1
  const char* path;
};
constexpr VirtualDevice kVirtualDevices[] = {
    {3, "/dev/null"}, {5, "/dev/zero"}, {7, "/dev/full"}, {8, "/dev/random"}, {9, "/dev/urandom"},
};
constexpr unsigned kMemoryMajor = 1;
constexpr unsigned kTtyMajor = 4;     // consoles and serial lines
constexpr unsigned kTtyAuxMajor = 5;  // 0: /dev/tty, 1: /dev/console, 2: /dev/ptmx
constexpr unsigned kPtsFirstMajor = 136, kPtsLastMajor = 143;

const VirtualDevice* virtual_device(unsigned major_number, unsigned minor_number) {
  const auto found = std::find_if(std::begin(kVirtualDevices), std::end(kVirtualDevices),
                                  [&](const VirtualDevice& device) { return device.minor == minor_number; });
  return major_number == kMemoryMajor && found != std::end(kVirtualDevices) ? found : nullptr;
}

const VirtualDevice* virtual_device(const OpenFileView& file) {
  return S_ISCHR(file.stat.st_mode) ? virtual_device(major(file.stat.st_rdev), minor(file.stat.st_rdev)) : nullptr;
}

bool is_ptmx(const OpenFileView& file) {
  return S_ISCHR(file.stat.st_mode) && file.stat.st_rdev == makedev(kTtyAuxMajor, 2);
}

bool is_terminal(const OpenFileView& file) {
  if (!S_ISCHR(file.stat.st_mode) || is_ptmx(file)) return false;
  const unsigned number = major(file.stat.st_rdev);
  return number == kTtyMajor || number == kTtyAuxMajor || (number >= kPtsFirstMajor && number <= kPtsLastMajor) ||
         (file.fd >= 0 && ::isatty(file.fd) == 1);
}

Finding terminal_finding(const OpenFileView& file) {
  return {"SP-TTY", describe(file), "it is a terminal that is none of the program's standard streams",
          unless_leaked(file,
                        "close it in a stillpoint::on_pre_dump hook and open /dev/tty in stillpoint::on_post_resume "
                        "and stillpoint::on_post_restore; or start the program with this terminal as its standard "
                        "input, output or error")};
}

Finding ptmx_finding(const OpenFileView& file) {
  return {"SP-PTMX", describe(file), "it is the master side of a pseudoterminal, whose state cannot be saved yet",
          unless_leaked(file,
                        "close it in a stillpoint::on_pre_dump hook and open a new pseudoterminal in "
                        "stillpoint::on_post_resume and stillpoint::on_post_restore")};
}

Finding device_finding(const OpenFileView& file) {
  return {"SP-DEVICE", describe(file),
          absl::StrCat("it is the ", S_ISBLK(file.stat.st_mode) ? "block" : "character", " device ",
                       major(file.stat.st_rdev), ":", minor(file.stat.st_rdev), " (", printable(file.link),
                       "), whose state only the program can save"),
          unless_leaked(file,
                        "save its state and close it in a stillpoint::on_pre_dump hook; open it at the same number and "
                        "load the state again in stillpoint::on_post_resume and stillpoint::on_post_restore")};
}

class DeviceKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "device"; }
  bool claims(const OpenFileView& file) const override {
    return S_ISCHR(file.stat.st_mode) || S_ISBLK(file.stat.st_mode);
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext& context, Findings& findings) const override {
    if (virtual_device(file) != nullptr) return;
    if (is_ptmx(file)) return findings.add(ptmx_finding(file));
    if (!is_terminal(file)) return findings.add(device_finding(file));
    if (!context.inherited(file)) findings.add(terminal_finding(file));
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext& context, model::OpenFile& out) const override {
    if (const VirtualDevice* device = virtual_device(file); device != nullptr) {
      DeviceDetail detail;
      detail.set_major(major(file.stat.st_rdev));
      detail.set_minor(minor(file.stat.st_rdev));
      detail.set_path(link_is_current(file) ? file.link : device->path);
      return store_detail(detail, file, out);
    }
    if (!is_terminal(file) || !context.inherited(file)) {
      return absl::FailedPreconditionError(absl::StrCat(describe(file), ": a device whose state cannot be saved"));
    }
    return dump_inherited(file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const DeviceDetail detail, parse_detail<DeviceDetail>(file));
    RETURN_IF_ERROR(check_path(file, detail.path()));
    // Opening a device may do things (tapes rewind, modems hang up): none but these is ever opened on an image's word.
    if (virtual_device(detail.major(), detail.minor()) == nullptr) return damaged_detail(file, "not a virtual device");
    const std::string path = context.map_path(detail.path());
    struct stat there = {};
    if (::stat(path.c_str(), &there) != 0) {
      return errno_status(errno, absl::StrCat(describe(file), ": stat of ", printable(path)));
    }
    if (!S_ISCHR(there.st_mode) || there.st_rdev != makedev(detail.major(), detail.minor())) {
      return absl::FailedPreconditionError(absl::StrCat(describe(file), ": ", printable(path), " is not the device ",
                                                        detail.major(), ":", detail.minor(), " any more"));
    }
    return reopen_path(path, file.flags() & ~uint32_t{O_PATH | O_DIRECTORY});
  }
};

}  // namespace

const OpenFileKind& device_kind() {
  static const auto& kind = *new DeviceKind;
  return kind;
}

}  // namespace stillpoint
