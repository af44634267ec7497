// What a TCP socket is at a dump: everything the image needs, and everything that stands in the way.
#ifndef STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_SURVEY_H_
#define STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_SURVEY_H_

#include <string>

#include "absl/status/statusor.h"
#include "helper/resources/finding.h"
#include "helper/resources/open_file_kind.h"
#include "helper/resources/socket.pb.h"

namespace stillpoint {

struct TcpSocketSurvey {
  bool inherited = false;             // connected to somebody of the starter's; nothing else is filled then
  resources::TcpSocketDetail detail;  // complete when there are no findings
  Findings findings;
  std::string words;  // "tcp 127.0.0.1:80 listening"
};

// `with_data`: with the bytes that wait, for a dump.
absl::StatusOr<TcpSocketSurvey> survey_tcp_socket(const OpenFileView& file, const OpenFileDumpContext& context,
                                                  bool with_data);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_SURVEY_H_
