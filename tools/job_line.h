// DIR/command: the line that `run` started the job's program with, so that another line in the same directory is
// noticed.
#ifndef STILLPOINT_TOOLS_JOB_LINE_H_
#define STILLPOINT_TOOLS_JOB_LINE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "helper/image/image.h"

namespace stillpoint::tools {

// As a shell would read it.
std::string shell_line(const std::vector<std::string>& arguments);

absl::Status remember_line(const image::JobDirectory& directory, const std::vector<std::string>& arguments);
// The line the job was started with, when it is known and is another one.
std::optional<std::string> other_line(const image::JobDirectory& directory, const std::vector<std::string>& arguments);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_JOB_LINE_H_
