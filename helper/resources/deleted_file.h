// Files that no longer have a name: their content is the process's alone and travels in the image.
#ifndef STILLPOINT_HELPER_RESOURCES_DELETED_FILE_H_
#define STILLPOINT_HELPER_RESOURCES_DELETED_FILE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/resources/open_file_kind.h"
#include "helper/resources/regular_file.pb.h"

namespace stillpoint {

// Larger ones are a finding: state.pb is read and checked as one message.
inline constexpr uint64_t kLargestDeletedFile = uint64_t{64} << 20;

// Copies what is not a hole of the file open for reading as `fd`.
absl::Status read_deleted_file(int fd, uint64_t size, absl::string_view what, resources::DeletedFile& out);

// A file without a name in the directory of `path` (which --map-path has been applied to): O_TMPFILE, else a
// name that is removed at once, else a memfd, of which a note tells.
absl::StatusOr<UniqueFd> create_deleted_file(const model::OpenFile& file, const resources::RegularFileDetail& detail,
                                             const std::string& path, OpenFileRestoreContext& context);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_DELETED_FILE_H_
