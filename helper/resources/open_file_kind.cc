#include "helper/resources/open_file_kind.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "helper/resources/printable.h"

namespace stillpoint {

void OpenFileKind::audit(const OpenFileView&, const OpenFileDumpContext&, Findings&) const {}

absl::Status OpenFileKind::fill(const model::OpenFile&, int, OpenFileRestoreContext&) const { return absl::OkStatus(); }

absl::Status OpenFileKind::finish(const model::OpenFile&, int, OpenFileRestoreContext&) const {
  return absl::OkStatus();
}

absl::Status OpenFileKind::commit(const model::OpenFile&, int) const { return absl::OkStatus(); }

absl::StatusOr<std::string> fdinfo_value(const OpenFileView& file, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(file.fdinfo, '\n')) {
    if (absl::ConsumePrefix(&line, key) && absl::ConsumePrefix(&line, ":")) {
      return std::string(absl::StripAsciiWhitespace(line));
    }
  }
  return absl::DataLossError(absl::StrCat("fdinfo of ", describe(file), " has no line \"", key, ":\""));
}

std::vector<std::string> fdinfo_lines(const OpenFileView& file, absl::string_view prefix) {
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(file.fdinfo, '\n')) {
    if (absl::StartsWith(line, prefix)) lines.emplace_back(line);
  }
  return lines;
}

std::string describe(const OpenFileView& file) {
  const std::string numbers = file.numbers.empty() ? absl::StrCat(file.number) : absl::StrJoin(file.numbers, ",");
  return absl::StrCat("fd ", numbers, " ", printable(file.link));
}

}  // namespace stillpoint
