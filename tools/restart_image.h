// Bringing an image back: which one, by the helper, as our child.
#ifndef STILLPOINT_TOOLS_RESTART_IMAGE_H_
#define STILLPOINT_TOOLS_RESTART_IMAGE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/base/unique_fd.h"
#include "helper/image/image.h"
#include "tools/supervisor.h"

namespace stillpoint::tools {

struct RestartOptions {
  bool embed = true;
  bool new_namespace = false;
  bool fallback = false;  // a damaged image: take the newest older one that verifies
  std::vector<std::pair<std::string, std::string>> map_paths;
};

struct Restarted {
  SupervisedProgram program;
  std::string image;  // path
  std::vector<std::string> notes;
};

// Restores `path`: an image, or a job directory (its latest). Says on stderr what it restored, from when, and every
// note. Until it returns, TERM, INT, HUP and QUIT cancel it (CANCELLED; SignalInbox::take_ending_signal() says which),
// and whatever fails leaves no process behind. DATA_LOSS: the image is damaged, or with `fallback`: every image is.
absl::StatusOr<Restarted> restart_image(const std::string& path, const RestartOptions& options,
                                        const SignalInbox& inbox);

// "OLD=NEW" of --map-path, added to `map_paths`.
absl::Status parse_path_mapping(absl::string_view value, std::vector<std::pair<std::string, std::string>>& map_paths);

// One exclusive lock per job directory, held while its program is supervised: a second `run` or `restart` of the
// same job would start a second copy of it. UNAVAILABLE when somebody holds it.
absl::StatusOr<UniqueFd> lock_job(const std::string& job_directory);
// The job directory of `path`: itself, or the parent of an image.
std::string job_directory_of(const std::string& path);

// "heat" of "/usr/bin/heat --size 100".
std::string program_name(const image::Manifest& manifest);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_RESTART_IMAGE_H_
