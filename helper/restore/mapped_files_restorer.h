// Opening the files that a restored process maps and executes: the original where it is unchanged, else the job's
// stored copy.
#ifndef STILLPOINT_HELPER_RESTORE_MAPPED_FILES_RESTORER_H_
#define STILLPOINT_HELPER_RESTORE_MAPPED_FILES_RESTORER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/image/image.h"
#include "helper/model/model.pb.h"
#include "helper/restore/restore.h"

namespace stillpoint {

// By id, read-only, or read-write where the tree maps a file shared and writable. Every file that is missing, replaced
// and not stored is named, not only the first.
absl::StatusOr<std::map<uint64_t, UniqueFd>> open_mapped_files(const model::Tree& tree, const image::ImageReader& image,
                                                               const RestoreOptions& options,
                                                               std::vector<std::string>& notes);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_MAPPED_FILES_RESTORER_H_
