#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/image/files.h"
#include "helper/image/image.h"

namespace stillpoint::image {
namespace {

// The reader when the image is whole, else every reason why it is not.
std::optional<ImageReader> open_verified(const JobDirectory& directory, const std::string& name,
                                         std::vector<absl::Status>& reasons) {
  const std::string label = absl::StrCat(directory.name(), "/", name);
  const absl::StatusOr<UniqueFd> fd = open_directory(directory.fd(), name, label);
  if (!fd.ok()) {
    reasons.push_back(fd.status());
    return std::nullopt;
  }
  absl::StatusOr<ImageReader> reader = ImageReader::from_fd(fd->get(), label);
  if (!reader.ok()) {
    reasons.push_back(reader.status());
    return std::nullopt;
  }
  reasons = reader->verify();
  if (!reasons.empty()) return std::nullopt;
  return *std::move(reader);
}

}  // namespace

absl::StatusOr<NewestVerifying> newest_verifying(const JobDirectory& directory) {
  ASSIGN_OR_RETURN(std::vector<uint64_t> sequences, directory.sequences());
  std::reverse(sequences.begin(), sequences.end());
  NewestVerifying result;
  for (const uint64_t sequence : sequences) {
    RejectedImage rejected;
    rejected.name = image_name(sequence);
    result.image = open_verified(directory, rejected.name, rejected.reasons);
    if (result.image.has_value()) break;
    result.rejected.push_back(std::move(rejected));
  }
  return result;
}

}  // namespace stillpoint::image
