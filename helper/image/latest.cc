#include "helper/image/latest.h"

#include <unistd.h>

#include <cerrno>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "helper/image/image.h"
#include "helper/image/names.h"
#include "helper/image/storage_error.h"

namespace stillpoint::image {

absl::StatusOr<std::optional<uint64_t>> read_latest(int directory, absl::string_view label) {
  char target[256];
  const ssize_t length = ::readlinkat(directory, kLatestName, target, sizeof target);
  const std::string link = absl::StrCat(label, "/", kLatestName);
  if (length < 0 && errno == ENOENT) return std::optional<uint64_t>();
  if (length < 0 && errno == EINVAL) return absl::DataLossError(absl::StrCat(link, " is not a symbolic link"));
  if (length < 0) return storage_error(errno, absl::StrCat("readlink ", link));
  const absl::string_view name(target, static_cast<size_t>(length));
  const std::optional<uint64_t> sequence = image_sequence(name);
  if (!sequence.has_value()) {
    return absl::DataLossError(
        absl::StrCat(link, " points to \"", absl::CHexEscape(name), "\", which is not an image"));
  }
  return sequence;
}

absl::StatusOr<std::string> prepare_latest(int directory, uint64_t sequence, absl::string_view label) {
  const std::string name = temporary_name(kLatestName);
  if (::symlinkat(image_name(sequence).c_str(), directory, name.c_str()) != 0) {
    return storage_error(errno, absl::StrCat("symlink ", label, "/", name));
  }
  return name;
}

}  // namespace stillpoint::image
