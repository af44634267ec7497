#include <string>
#include <vector>

#include "tools/commands.h"
#include "tools/console.h"
#include "tools/exit_codes.h"
#include "tools/image_report.h"
#include "tools/options.h"

namespace stillpoint::tools {

int inspect_command(const Arguments& arguments) {
  bool json = false;
  bool vmas = false;
  Options options("inspect [--json] [--vmas] IMAGE|DIR", "Shows what is in an image.",
                  "DIR stands for its latest image. Page data is not read; stillpoint verify reads it.\n"
                  "\n"
                  "Exit codes:\n"
                  "    0  shown\n"
                  "    3  the manifest or the state is damaged\n"
                  "  125  the image could not be read\n");
  options.flag("json", json, "print everything as one JSON object").flag("vmas", vmas, "list every VMA, not only sums");
  std::vector<std::string> operands;
  int exit_code = kFailed;
  if (!parse_or_explain(options, arguments, 1, 1, operands, exit_code)) return exit_code;

  const absl::StatusOr<ImageContents> contents = read_image(operands[0]);
  if (!contents.ok()) {
    say_error(contents.status());
    return absl::IsDataLoss(contents.status()) ? kDamaged : kFailed;
  }
  print(json ? image_json(*contents) : image_table(*contents, vmas));
  return kSuccess;
}

}  // namespace stillpoint::tools
