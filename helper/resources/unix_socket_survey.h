// What a UNIX socket is at a dump: everything the image needs, and everything that stands in the way.
#ifndef STILLPOINT_HELPER_RESOURCES_UNIX_SOCKET_SURVEY_H_
#define STILLPOINT_HELPER_RESOURCES_UNIX_SOCKET_SURVEY_H_

#include <string>

#include "absl/status/statusor.h"
#include "helper/resources/finding.h"
#include "helper/resources/open_file_kind.h"
#include "helper/resources/socket.pb.h"

namespace stillpoint {

struct UnixSocketSurvey {
  bool inherited = false;              // connected to something of the starter's; nothing else is filled then
  resources::UnixSocketDetail detail;  // complete when there are no findings
  Findings findings;
  std::string words;  // "unix stream listening on /run/x.sock"
};

absl::StatusOr<UnixSocketSurvey> survey_unix_socket(const OpenFileView& file, const OpenFileDumpContext& context);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_UNIX_SOCKET_SURVEY_H_
