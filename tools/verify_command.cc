#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "helper/image/image.h"
#include "tools/commands.h"
#include "tools/console.h"
#include "tools/exit_codes.h"
#include "tools/options.h"

namespace stillpoint::tools {
namespace {

constexpr char kDetails[] =
    "Reads every file of the image, and the stored executable and libraries it needs, and compares all checksums.\n"
    "DIR stands for its latest image.\n"
    "\n"
    "Exit codes:\n"
    "    0  the image is whole\n"
    "    3  it is damaged or incomplete; every damaged file and chunk is listed\n"
    "  125  it could not be read\n";

int report_damage(const std::string& name, const std::vector<absl::Status>& damages) {
  for (const absl::Status& damage : damages) print(absl::StrCat(printable(damage.message()), "\n"));
  say(absl::StrCat(name, " is damaged: ", damages.size(), damages.size() == 1 ? " fault" : " faults"));
  return kDamaged;
}

}  // namespace

int verify_command(const Arguments& arguments) {
  Options options("verify IMAGE|DIR", "Checks that an image is whole.", kDetails);
  std::vector<std::string> operands;
  int exit_code = kFailed;
  if (!parse_or_explain(options, arguments, 1, 1, operands, exit_code)) return exit_code;

  const absl::StatusOr<image::ImageReader> image = image::ImageReader::open(operands[0]);
  if (absl::IsDataLoss(image.status())) return report_damage(operands[0], {image.status()});
  if (!image.ok()) {
    say_error(image.status());
    return kFailed;
  }
  uint64_t bytes = 0;
  std::vector<absl::Status> damages;
  {
    ProgressLine progress(absl::StrCat("verifying ", image->name()));
    damages = image->verify([&](uint64_t done, uint64_t total) {
      bytes = total;
      progress.update(done, total);
    });
  }
  if (!damages.empty()) return report_damage(image->name(), damages);
  print(absl::StrCat(image->name(), " is whole: ", image->manifest().files_size(), " files and ",
                     image->manifest().stored_files_size(), " stored files, ", format_bytes(bytes), "\n"));
  return kSuccess;
}

}  // namespace stillpoint::tools
