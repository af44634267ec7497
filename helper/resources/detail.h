// The message in model::OpenFile.detail. Images are hostile input: whatever it holds must be checked before use.
#ifndef STILLPOINT_HELPER_RESOURCES_DETAIL_H_
#define STILLPOINT_HELPER_RESOURCES_DETAIL_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "helper/model/model.pb.h"
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// "open file 3 (fd 7 /data/x)": how an error names something that exists in the image only.
inline std::string describe(const model::OpenFile& file) {
  return absl::StrCat("open file ", file.id(), " (", file.description(), ")");
}

inline absl::Status damaged_detail(const model::OpenFile& file, absl::string_view why) {
  return absl::DataLossError(absl::StrCat(describe(file), ": its ", file.kind(), " detail is damaged: ", why));
}

template <typename Detail>
absl::StatusOr<Detail> parse_detail(const model::OpenFile& file) {
  Detail detail;
  if (!detail.ParseFromString(file.detail())) return damaged_detail(file, "not a valid message");
  return detail;
}

// Fills what a kind's dump() fills.
template <typename Detail>
absl::Status store_detail(const Detail& detail, const OpenFileView& view, model::OpenFile& out) {
  out.set_description(describe(view));
  if (!detail.SerializeToString(out.mutable_detail())) {
    return absl::InternalError(absl::StrCat(describe(view), ": its detail cannot be serialized"));
  }
  return absl::OkStatus();
}

// A path out of an image: absolute, without a NUL that would cut it short.
inline absl::Status check_path(const model::OpenFile& file, absl::string_view path) {
  if (path.empty() || path[0] != '/' || path.find('\0') != absl::string_view::npos) {
    return damaged_detail(file, "not an absolute path");
  }
  return absl::OkStatus();
}

// An fd number out of an image.
inline absl::Status check_fd_number(const model::OpenFile& file, int64_t number) {
  return number >= 0 && number < (int64_t{1} << 30) ? absl::OkStatus() : damaged_detail(file, "not an fd number");
}

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_DETAIL_H_
