#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "helper/base/errors.h"
#include "helper/image/image.h"
#include "tools/checkpoint_process.h"
#include "tools/commands.h"
#include "tools/console.h"
#include "tools/exit_codes.h"
#include "tools/image_report.h"
#include "tools/options.h"

namespace stillpoint::tools {
namespace {

std::string line_for(const image::JobDirectory& directory, uint64_t sequence, std::optional<uint64_t> latest) {
  const std::string name = image::image_name(sequence);
  const absl::StatusOr<image::ImageReader> image = image::ImageReader::open(absl::StrCat(directory.name(), "/", name));
  if (!image.ok()) return absl::StrCat(name, "  damaged: ", printable(image.status().message()), "\n");
  const image::Manifest& manifest = image->manifest();
  return absl::StrFormat("%-14s  %s  %9s  %-23s  %s%s\n", name, format_time(manifest.created_ns()),
                         format_bytes(image_bytes(manifest)), task_counts(manifest), printable_line(manifest.program()),
                         latest == sequence ? "  (latest)" : "");
}

constexpr char kDetails[] =
    "Only manifests are read; stillpoint verify reads the rest.\n"
    "\n"
    "Exit codes:\n"
    "    0  there are images, damaged ones included\n"
    "    1  there is no image in DIR\n"
    "  125  DIR could not be read\n";

// Whether there is an image.
absl::StatusOr<bool> list(const std::string& path) {
  ASSIGN_OR_RETURN(const image::JobDirectory directory, image::JobDirectory::open(path, false));
  ASSIGN_OR_RETURN(const std::vector<uint64_t> sequences, directory.sequences());
  const absl::StatusOr<std::optional<uint64_t>> latest = directory.latest();
  if (!latest.ok()) say_error(latest.status());
  if (latest.ok() && !latest->has_value() && !sequences.empty()) {
    say(absl::StrCat(path,
                     "/latest is missing, so no image is marked; restart --fallback takes the newest that "
                     "verifies"));
  }
  for (const uint64_t sequence : sequences) {
    print(line_for(directory, sequence, latest.ok() ? *latest : std::nullopt));
  }
  if (sequences.empty()) say(absl::StrCat("there is no image in ", path));
  return !sequences.empty();
}

}  // namespace

int list_command(const Arguments& arguments) {
  Options options("list DIR", "Lists the images of a checkpoint directory, oldest first.", kDetails);
  std::vector<std::string> operands;
  int exit_code = kFailed;
  if (!parse_or_explain(options, arguments, 1, 1, operands, exit_code)) return exit_code;
  const std::string path = without_trailing_slashes(operands[0]);
  const absl::StatusOr<bool> any = list(path);
  if (!any.ok()) {
    say_error(any.status());
    return kFailed;
  }
  return *any ? kSuccess : kNegative;
}

}  // namespace stillpoint::tools
