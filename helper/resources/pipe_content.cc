#include "helper/resources/pipe_content.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/unique_fd.h"

namespace stillpoint {
namespace {

constexpr char kSentinel = '.';

struct Pipe {
  UniqueFd read_end, write_end;
};

absl::StatusOr<Pipe> make_pipe(size_t capacity, absl::string_view what) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return errno_status(errno, absl::StrCat("pipe2 for ", what));
  Pipe pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
  // Two pages at least: one for the sentinel. A refusal shows when tee(2) does not get everything.
  const size_t wanted = std::min<size_t>(std::max(capacity, 2 * kPageSize), INT_MAX);
  static_cast<void>(::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(wanted)));
  return pipe;
}

absl::Status duplicate(int from, int to, size_t waiting, absl::string_view what) {
  const ssize_t copied = ::tee(from, to, INT_MAX, SPLICE_F_NONBLOCK);
  if (copied < 0) return errno_status(errno, absl::StrCat("tee of ", what));
  if (static_cast<size_t>(copied) != waiting) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": only ", copied, " of the ", waiting,
                                                     " bytes waiting in it can be copied; fs.pipe-max-size or "
                                                     "fs.pipe-user-pages-soft is too small for the helper's user"));
  }
  return absl::OkStatus();
}

// What one read at a time takes out, until the pipe is empty.
absl::StatusOr<std::vector<std::string>> drain(int fd, size_t capacity, absl::string_view what) {
  std::vector<std::string> segments;
  std::string buffer(std::max(capacity, size_t{kPageSize}) + 1, '\0');
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return segments;
    if (n < 0) return errno_status(errno, absl::StrCat("read of the copy of ", what));
    if (n == 0) return segments;
    segments.emplace_back(buffer.data(), static_cast<size_t>(n));
  }
}

}  // namespace

// Whether the content is packets shows in how it is read: behind it a sentinel byte is written into the copy. After
// plain content it comes out together with that; after a packet it comes alone. In a copy that is so full that it
// takes no sentinel, packets show by being several.
absl::StatusOr<PipeContent> read_pipe_content(int fd, size_t capacity, absl::string_view what) {
  PipeContent content;
  int waiting = 0;
  if (::ioctl(fd, FIONREAD, &waiting) != 0) return errno_status(errno, absl::StrCat("ioctl(FIONREAD) of ", what));
  if (waiting <= 0) return content;
  ASSIGN_OR_RETURN(const Pipe copy, make_pipe(capacity, what));
  RETURN_IF_ERROR(duplicate(fd, copy.write_end.get(), static_cast<size_t>(waiting), what));
  const bool marked = ::write(copy.write_end.get(), &kSentinel, 1) == 1;
  ASSIGN_OR_RETURN(content.segments, drain(copy.read_end.get(), capacity, what));
  size_t total = 0;
  for (const std::string& segment : content.segments) total += segment.size();
  if (total != static_cast<size_t>(waiting) + (marked ? 1 : 0)) {
    return absl::DataLossError(absl::StrCat(what, ": ", waiting, " bytes wait in it, ", total, " were read"));
  }
  content.packets = content.segments.size() > 1;
  if (marked) content.segments.back().pop_back();
  if (content.segments.back().empty()) content.segments.pop_back();
  return content;
}

absl::Status write_pipe_content(int fd, const PipeContent& content, absl::string_view what) {
  if (content.segments.empty()) return absl::OkStatus();
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return errno_status(errno, absl::StrCat("fcntl(F_GETFL) of ", what));
  const int while_writing = (flags & ~O_DIRECT) | O_NONBLOCK | (content.packets ? O_DIRECT : 0);
  if (::fcntl(fd, F_SETFL, while_writing) != 0) return errno_status(errno, absl::StrCat("fcntl(F_SETFL) of ", what));
  for (const std::string& segment : content.segments) {
    const absl::Status written = write_all(fd, segment, what);
    if (!written.ok()) return with_context(written, "its content does not fit into the pipe");
  }
  if (::fcntl(fd, F_SETFL, flags) != 0) return errno_status(errno, absl::StrCat("fcntl(F_SETFL) of ", what));
  return absl::OkStatus();
}

}  // namespace stillpoint
