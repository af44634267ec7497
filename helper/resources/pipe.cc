// Pipes and FIFOs: capacity, content (packets as packets), and which ends are there. All open file descriptions of
// one pipe name the lowest of them, which creates the pipe; the others open it again through /proc/self/fd.
//
// The other end of a pipe is inside the image, or closed everywhere (restored so: what waits can still be read, then
// EOF; writing gives EPIPE), or outside: then it is the starter's, given again by `stillpoint restart`, or a finding.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/detail.h"
#include "helper/resources/inherited.h"
#include "helper/resources/kinds.h"
#include "helper/resources/pipe.pb.h"
#include "helper/resources/pipe_content.h"
#include "helper/resources/printable.h"
#include "helper/resources/remedies.h"
#include "helper/resources/reopen.h"
#include "helper/resources/same_file.h"

namespace stillpoint {
namespace {

using resources::PipeDetail;

constexpr uint32_t kSettable = O_NONBLOCK | O_DIRECT;  // pipe flags that open(2) refuses or that fcntl(2) sets as well

uint32_t access_mode(uint32_t flags) { return flags & O_ACCMODE; }

enum class OtherEnd { kInside, kClosed, kOutside };

// True when every fd that leads to the other end is closed. A copy of the end tells by poll(2); a fresh
// description for reading, which is all there is without pidfd_getfd, by EOF when nothing waits.
bool other_end_closed(const OpenFileView& file) {
  UniqueFd fresh;
  if (file.fd < 0) {
    absl::StatusOr<UniqueFd> opened =
        reopen_path(absl::StrCat("/proc/", file.pid, "/fd/", file.number), access_mode(file.flags) | O_NONBLOCK);
    if (!opened.ok()) return false;
    fresh = *std::move(opened);
  }
  pollfd end = {file.fd >= 0 ? file.fd : fresh.get(), POLLIN, 0};
  if (::poll(&end, 1, 0) < 0) return false;
  if ((end.revents & (POLLHUP | POLLERR)) != 0) return true;
  int waiting = 0;
  char byte;
  return fresh.valid() && access_mode(file.flags) == O_RDONLY && ::ioctl(fresh.get(), FIONREAD, &waiting) == 0 &&
         waiting == 0 && ::read(fresh.get(), &byte, 1) == 0;
}

OtherEnd other_end(const OpenFileView& file, const OpenFileDumpContext& context) {
  const uint32_t own = access_mode(file.flags);
  if (own == O_RDWR) return OtherEnd::kInside;
  for (const OpenFileReference& reference : context.same_object(file)) {
    if (access_mode(reference.flags) != own) return OtherEnd::kInside;
  }
  return other_end_closed(file) ? OtherEnd::kClosed : OtherEnd::kOutside;
}

// A pipe of the starter's comes from `stillpoint restart` again. One that its writers have closed does not: the
// program is still to read what waits in it.
bool starters(const OpenFileView& file, const OpenFileDumpContext& context, OtherEnd other) {
  if (other == OtherEnd::kInside || !context.inherited(file)) return false;
  return other == OtherEnd::kOutside || access_mode(file.flags) == O_WRONLY;
}

uint64_t waiting_bytes(const OpenFileView& file) {
  int waiting = 0;
  if (file.fd < 0 || access_mode(file.flags) != O_RDONLY) return 0;
  return ::ioctl(file.fd, FIONREAD, &waiting) == 0 && waiting > 0 ? static_cast<uint64_t>(waiting) : 0;
}

absl::Status dump_content(const OpenFileView& file, PipeDetail& detail) {
  ASSIGN_OR_RETURN(const UniqueFd reader, open_for_reading(file));
  const int capacity = ::fcntl(reader.get(), F_GETPIPE_SZ);
  if (capacity <= 0) return errno_status(errno, absl::StrCat("fcntl(F_GETPIPE_SZ) of ", describe(file)));
  detail.set_capacity(static_cast<uint32_t>(capacity));
  ASSIGN_OR_RETURN(PipeContent content, read_pipe_content(reader.get(), static_cast<size_t>(capacity), describe(file)));
  detail.set_packets(content.packets);
  for (std::string& segment : content.segments) detail.add_segments(std::move(segment));
  return absl::OkStatus();
}

absl::Status fill(const model::OpenFile& file, const PipeDetail& detail, int write_end,
                  OpenFileRestoreContext& context) {
  const int now = ::fcntl(write_end, F_GETPIPE_SZ);
  if (now != static_cast<int64_t>(detail.capacity()) &&
      ::fcntl(write_end, F_SETPIPE_SZ, static_cast<unsigned>(detail.capacity())) < 0) {
    context.note(absl::StrCat(file.description(), ": the pipe holds ", now, " bytes instead of ", detail.capacity(),
                              " (", errno_name(errno), "; fs.pipe-max-size)"));
  }
  PipeContent content;
  content.packets = detail.packets();
  content.segments.assign(detail.segments().begin(), detail.segments().end());
  return write_pipe_content(write_end, content, describe(file));
}

// A description of the pipe with the access mode and flags that `file` had.
absl::StatusOr<UniqueFd> open_end(const model::OpenFile& file, int any_end) {
  ASSIGN_OR_RETURN(UniqueFd fd, reopen_fd(any_end, access_mode(file.flags()) | O_NONBLOCK, describe(file)));
  if (::fcntl(fd.get(), F_SETFL, static_cast<int>(file.flags() & kSettable)) != 0) {
    return errno_status(errno, absl::StrCat("fcntl(F_SETFL) of ", describe(file)));
  }
  return fd;
}

absl::StatusOr<UniqueFd> create_pipe(const model::OpenFile& file, const PipeDetail& detail,
                                     OpenFileRestoreContext& context) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
    return errno_status(errno, absl::StrCat("pipe2 for ", describe(file)));
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  RETURN_IF_ERROR(fill(file, detail, write_end.get(), context));
  if (access_mode(file.flags()) == O_RDWR) return open_end(file, read_end.get());
  UniqueFd& kept = access_mode(file.flags()) == O_WRONLY ? write_end : read_end;
  if (::fcntl(kept.get(), F_SETFL, static_cast<int>(file.flags() & kSettable)) != 0) {
    return errno_status(errno, absl::StrCat("fcntl(F_SETFL) of ", describe(file)));
  }
  return std::move(kept);
}

absl::Status check_fifo(const model::OpenFile& file, int fd) {
  struct stat found = {};
  if (::fstat(fd, &found) != 0) return errno_status(errno, absl::StrCat("fstat of ", describe(file)));
  if (S_ISFIFO(found.st_mode)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(describe(file), ": what stands in its place is not a pipe"));
}

// Both ends are open while a FIFO is opened: the kernel refuses to open it for writing alone while nobody reads.
absl::StatusOr<UniqueFd> open_fifo(const model::OpenFile& file, const PipeDetail& detail,
                                   OpenFileRestoreContext& context) {
  RETURN_IF_ERROR(check_path(file, detail.path()));
  const std::string path = context.map_path(detail.path());
  absl::StatusOr<UniqueFd> both = reopen_path(path, O_RDWR | O_NONBLOCK);
  if (!both.ok()) {
    return with_context(both.status(), absl::StrCat(describe(file),
                                                    ": the FIFO must be there again (mkfifo), or be "
                                                    "named with --map-path OLD=NEW"));
  }
  RETURN_IF_ERROR(check_fifo(file, both->get()));
  if (detail.first_description() == file.id()) {
    int waiting = 0;
    if (::ioctl(both->get(), FIONREAD, &waiting) == 0 && waiting > 0) {
      context.note(absl::StrCat(printable(path), ": the FIFO already holds ", waiting, " bytes of somebody else"));
    }
    RETURN_IF_ERROR(fill(file, detail, both->get(), context));
  }
  return open_end(file, both->get());
}

class PipeKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "pipe"; }
  bool claims(const OpenFileView& file) const override {
    return S_ISFIFO(file.stat.st_mode) && (absl::StartsWith(file.link, "pipe:[") || absl::StartsWith(file.link, "/"));
  }

  void audit(const OpenFileView& file, const OpenFileDumpContext& context, Findings& findings) const override {
    const OtherEnd other = other_end(file, context);
    if (other != OtherEnd::kOutside || starters(file, context, other)) return;
    findings.add({"SP-PIPE-EXTERNAL", describe(file),
                  absl::StrCat("the pipe's ", access_mode(file.flags) == O_WRONLY ? "reader" : "writer",
                               " is a process that is not part of the image"),
                  unless_leaked(file, absl::StrCat(kCloseAndOpenAgain,
                                                   "; or pass it as standard input, output or error, which "
                                                   "`stillpoint restart` gives again"))});
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext& context, model::OpenFile& out) const override {
    const OtherEnd other = other_end(file, context);
    if (starters(file, context, other)) return dump_inherited(file, out, waiting_bytes(file));
    PipeDetail detail;
    detail.set_first_description(lowest_description(file, context));
    if (link_is_current(file)) detail.set_path(file.link);
    if (detail.first_description() == context.open_file_of(file.pid, file.number)) {
      RETURN_IF_ERROR(dump_content(file, detail));
    }
    return store_detail(detail, file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const PipeDetail detail, parse_detail<PipeDetail>(file));
    if (!detail.path().empty()) return open_fifo(file, detail, context);
    if (detail.first_description() == file.id()) return create_pipe(file, detail, context);
    const int first = context.fd_of(detail.first_description());
    if (first < 0) {
      return damaged_detail(file, absl::StrCat("open file ", detail.first_description(), ", its pipe, is not there"));
    }
    RETURN_IF_ERROR(check_fifo(file, first));
    return open_end(file, first);
  }
};

}  // namespace

const OpenFileKind& pipe_kind() {
  static const auto& kind = *new PipeKind;
  return kind;
}

}  // namespace stillpoint
