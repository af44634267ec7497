// Remedies that several kinds share. They name only what this release has: hooks of the SDK, options of the tools.
#ifndef STILLPOINT_HELPER_RESOURCES_REMEDIES_H_
#define STILLPOINT_HELPER_RESOURCES_REMEDIES_H_

#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

inline constexpr absl::string_view kCloseAndOpenAgain =
    "close it in a stillpoint::on_pre_dump hook and open another in stillpoint::on_post_resume and "
    "stillpoint::on_post_restore (dup2 gives it the same number)";

// `remedy`, preceded by what helps when the program does not know of the fd at all: editors' terminals and CI systems
// leave pipes, sockets and terminals open in whatever they start.
inline std::string unless_leaked(const OpenFileView& file, absl::string_view remedy) {
  if (file.number <= STDERR_FILENO) return std::string(remedy);
  return absl::StrCat("when the program does not use fd ", file.number,
                      " itself, its starter left it open: start it with ", file.number,
                      ">&- at the end of the shell's command, or under `stillpoint run`, which does not pass "
                      "such on; else ",
                      remedy);
}

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_REMEDIES_H_
