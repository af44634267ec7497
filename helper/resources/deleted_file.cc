#include "helper/resources/deleted_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/resources/detail.h"
#include "helper/resources/printable.h"

namespace stillpoint {
namespace {

constexpr uint64_t kSegmentSize = uint64_t{1} << 20;

// The next stretch of data at or after `offset`; start == size when only a hole is left. Filesystems without
// SEEK_DATA have one stretch.
absl::Status next_data(int fd, uint64_t offset, uint64_t size, absl::string_view what, uint64_t& start, uint64_t& end) {
  const off_t data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0 && errno == ENXIO) {
    start = end = size;
    return absl::OkStatus();
  }
  if (data < 0 && errno != EINVAL) return errno_status(errno, absl::StrCat("lseek(SEEK_DATA) of ", what));
  start = data < 0 ? offset : static_cast<uint64_t>(data);
  const off_t hole = ::lseek(fd, static_cast<off_t>(start), SEEK_HOLE);
  end = hole < 0 ? size : std::min(static_cast<uint64_t>(hole), size);
  start = std::min(start, size);
  if (end <= start) end = size;
  return absl::OkStatus();
}

UniqueFd create_and_unlink(const std::string& directory) {
  std::string name = absl::StrCat(directory, "/.stillpoint-XXXXXX");
  UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (fd.valid() && ::unlink(name.c_str()) != 0) fd.reset();
  return fd;
}

absl::StatusOr<UniqueFd> create_nameless(const model::OpenFile& file, const std::string& path,
                                         OpenFileRestoreContext& context) {
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  if (!feature_disabled("o_tmpfile")) {
    UniqueFd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (fd.valid()) return fd;
  }
  if (UniqueFd fd = create_and_unlink(directory); fd.valid()) return fd;
  const int why = errno;
  UniqueFd fd(::memfd_create("stillpoint-deleted", MFD_CLOEXEC));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("memfd_create for ", describe(file)));
  context.note(absl::StrCat(file.description(), ": kept in memory, since no file can be created in ",
                            printable(directory), " (", errno_name(why), ")"));
  return fd;
}

}  // namespace

absl::Status read_deleted_file(int fd, uint64_t size, absl::string_view what, resources::DeletedFile& out) {
  uint64_t offset = 0;
  while (offset < size) {
    uint64_t start = 0, end = 0;
    RETURN_IF_ERROR(next_data(fd, offset, size, what, start, end));
    for (; start < end; start += std::min(kSegmentSize, end - start)) {
      resources::Segment& segment = *out.add_segments();
      segment.set_offset(start);
      segment.mutable_content()->resize(std::min(kSegmentSize, end - start));
      RETURN_IF_ERROR(pread_all(fd, segment.mutable_content()->data(), segment.content().size(), start, what));
    }
    offset = end;
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> create_deleted_file(const model::OpenFile& file, const resources::RegularFileDetail& detail,
                                             const std::string& path, OpenFileRestoreContext& context) {
  if (detail.size() > kLargestDeletedFile) return damaged_detail(file, "a deleted file too large to be in an image");
  ASSIGN_OR_RETURN(UniqueFd fd, create_nameless(file, path, context));
  if (::ftruncate(fd.get(), static_cast<off_t>(detail.size())) != 0) {
    return errno_status(errno, absl::StrCat("ftruncate of ", describe(file)));
  }
  for (const resources::Segment& segment : detail.deleted().segments()) {
    if (segment.offset() > detail.size() || segment.content().size() > detail.size() - segment.offset()) {
      return damaged_detail(file, "content beyond the end of the file");
    }
    RETURN_IF_ERROR(
        pwrite_all(fd.get(), segment.content().data(), segment.content().size(), segment.offset(), describe(file)));
  }
  return fd;
}

}  // namespace stillpoint
