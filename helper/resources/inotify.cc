// inotify instances: the watches with their descriptors. The kernel knows the watched inodes, not their paths; a path
// is searched for (watched_path.h), and a watch whose path is not found is a finding.
//
// Events that were queued and not read cannot be looked at without taking them from the program, and nothing tells a
// restored program what happened to the files between checkpoint and restart. A note says so when events were lost;
// programs that follow files should rescan after a restore (stillpoint::on_post_restore).
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"
#include "helper/resources/detail.h"
#include "helper/resources/fdinfo.h"
#include "helper/resources/inotify.pb.h"
#include "helper/resources/kinds.h"
#include "helper/resources/printable.h"
#include "helper/resources/watched_path.h"

namespace stillpoint {
namespace {

using resources::InotifyDetail;

// <linux/inotify.h> cannot stand beside <sys/inotify.h>.
constexpr unsigned long kSetNextDescriptor = _IOW('I', 0, int32_t);  // INOTIFY_IOC_SETNEXTWD
// What inotify_add_watch(2) takes of the mask that fdinfo shows.
constexpr uint32_t kWatchMask = IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT;
// How far up watch descriptors are counted where the kernel does not let them be chosen.
constexpr int kMostCounted = 1'000'000;

struct WatchLine {
  int descriptor = 0;
  uint32_t mask = 0;
  WatchedInode watched;
};

// "inotify wd:1 ino:3c51a sdev:fe00000 mask:84000002 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:1ac5..."
absl::StatusOr<WatchLine> parse_watch(const OpenFileView& file, const std::string& line) {
  WatchLine watch;
  uint64_t descriptor = 0, mask = 0, device = 0, handle_type = 0;
  if (!parse_unsigned(word_value(line, "wd"), 16, descriptor) || descriptor == 0 || descriptor > INT32_MAX ||
      !parse_unsigned(word_value(line, "ino"), 16, watch.watched.inode) ||
      !parse_unsigned(word_value(line, "sdev"), 16, device) || device > UINT32_MAX ||
      !parse_unsigned(word_value(line, "mask"), 16, mask) || mask > UINT32_MAX) {
    return malformed_fdinfo(file, line);
  }
  watch.descriptor = static_cast<int>(descriptor);
  watch.mask = static_cast<uint32_t>(mask);
  watch.watched.device = makedev(device >> 20, device & 0xfffff);  // the kernel's own dev_t
  const absl::string_view handle = word_value(line, "f_handle");
  const bool hexadecimal = std::all_of(handle.begin(), handle.end(), absl::ascii_isxdigit);
  if (handle.size() >= 2 && handle.size() % 2 == 0 && hexadecimal &&
      parse_unsigned(word_value(line, "fhandle-type"), 16, handle_type) && handle_type <= 0xff) {
    watch.watched.handle_type = static_cast<int>(handle_type);
    watch.watched.handle = absl::HexStringToBytes(handle);
  }
  return watch;
}

// Takes out the queued events. Never blocks: the instance may be in blocking mode by now.
absl::Status drain(int fd, absl::string_view what) {
  alignas(inotify_event) char events[4096];
  int queued = 0;
  for (;;) {
    if (::ioctl(fd, FIONREAD, &queued) != 0) return errno_status(errno, absl::StrCat("ioctl(FIONREAD) of ", what));
    if (queued <= 0) return absl::OkStatus();
    if (::read(fd, events, sizeof events) < 0 && errno != EINTR && errno != EAGAIN) {
      return errno_status(errno, absl::StrCat("read of ", what));
    }
  }
}

bool choose_next_descriptor(int fd, int descriptor) {
  return !feature_disabled("inotify_setnextwd") && ::ioctl(fd, kSetNextDescriptor, descriptor) == 0;
}

// Adds the watch under its old descriptor: the kernel is told which to give next or, before it could be
// (CONFIG_CHECKPOINT_RESTORE), gives them one after the other until it is this one's turn.
absl::Status add_watch(const model::OpenFile& file, int fd, const InotifyDetail::Watch& watch,
                       const std::string& path) {
  const uint32_t mask = (watch.mask() & kWatchMask) | (watch.symlink() ? IN_DONT_FOLLOW : 0);
  choose_next_descriptor(fd, watch.descriptor());
  for (int tries = 0; tries < kMostCounted; ++tries) {
    const int descriptor = ::inotify_add_watch(fd, path.c_str(), mask);
    const std::string what = absl::StrCat(describe(file), ": inotify_add_watch of ", printable(path));
    if (descriptor < 0) return errno_status(errno, what);
    if (descriptor == watch.descriptor()) return absl::OkStatus();
    if (descriptor > watch.descriptor()) {
      return absl::FailedPreconditionError(absl::StrCat(what, " gave watch descriptor ", descriptor, " instead of ",
                                                        watch.descriptor(), ": two watched paths are one file now"));
    }
    if (::inotify_rm_watch(fd, descriptor) != 0) return errno_status(errno, absl::StrCat(what, ", then removing it"));
    RETURN_IF_ERROR(drain(fd, describe(file)));  // the IN_IGNORED that the removal queued
  }
  return absl::ResourceExhaustedError(absl::StrCat(describe(file), ": watch descriptor ", watch.descriptor(),
                                                   " is out of reach without INOTIFY_IOC_SETNEXTWD"));
}

class InotifyKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "inotify"; }
  bool claims(const OpenFileView& file) const override {
    return file.link == "anon_inode:inotify" || file.link == "anon_inode:[inotify]";
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext&, Findings& findings) const override {
    for (const std::string& line : fdinfo_lines(file, "inotify ")) {
      const absl::StatusOr<WatchLine> watch = parse_watch(file, line);
      if (!watch.ok()) continue;  // dump() says it
      const absl::StatusOr<std::string> path = find_watched_path(file.pid, watch->watched);
      if (path.ok()) continue;
      findings.add({"SP-INOTIFY-PATH", absl::StrCat(describe(file), ", watch ", watch->descriptor),
                    absl::StrCat("what it watches has no path that can be found: ", path.status().message()),
                    "give the helper the capability cap_dac_read_search, with which it asks the kernel; or remove the "
                    "watch in a stillpoint::on_pre_dump hook and add it again in stillpoint::on_post_resume and "
                    "stillpoint::on_post_restore"});
    }
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext&, model::OpenFile& out) const override {
    InotifyDetail detail;
    for (const std::string& line : fdinfo_lines(file, "inotify ")) {
      ASSIGN_OR_RETURN(const WatchLine line_watch, parse_watch(file, line));
      ASSIGN_OR_RETURN(const std::string path, find_watched_path(file.pid, line_watch.watched));
      InotifyDetail::Watch& watch = *detail.add_watches();
      watch.set_descriptor(line_watch.descriptor);
      watch.set_mask(line_watch.mask);
      watch.set_path(path);
      struct stat there = {};
      watch.set_symlink(::lstat(path.c_str(), &there) == 0 && S_ISLNK(there.st_mode));
    }
    std::sort(detail.mutable_watches()->begin(), detail.mutable_watches()->end(),
              [](const auto& a, const auto& b) { return a.descriptor() < b.descriptor(); });
    int queued = 0;
    if (file.fd >= 0 && ::ioctl(file.fd, FIONREAD, &queued) != 0) {
      return errno_status(errno, absl::StrCat("ioctl(FIONREAD) of ", describe(file)));
    }
    detail.set_queued_bytes(static_cast<uint32_t>(std::max(queued, 0)));
    return store_detail(detail, file, out);
  }

  // Late, since what is done to other files while they are restored raises events too.
  int restore_stage() const override { return 2; }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const InotifyDetail detail, parse_detail<InotifyDetail>(file));
    UniqueFd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!fd.valid()) return errno_status(errno, absl::StrCat("inotify_init1 for ", describe(file)));
    int last = 0;
    for (const InotifyDetail::Watch& watch : detail.watches()) {
      RETURN_IF_ERROR(check_path(file, watch.path()));
      if (watch.descriptor() <= last) return damaged_detail(file, "its watch descriptors do not ascend");
      last = watch.descriptor();
      RETURN_IF_ERROR(add_watch(file, fd.get(), watch, context.map_path(watch.path())));
    }
    if (detail.queued_bytes() > 0) {
      context.note(absl::StrCat(file.description(), ": ", detail.queued_bytes(),
                                " bytes of inotify events that were not read before the checkpoint are lost"));
    }
    return fd;
  }

  // Events that the restore itself raised are none of the program's.
  absl::Status finish(const model::OpenFile& file, int fd, OpenFileRestoreContext&) const override {
    return drain(fd, describe(file));
  }
};

}  // namespace

const OpenFileKind& inotify_kind() {
  static const auto& kind = *new InotifyKind;
  return kind;
}

}  // namespace stillpoint
