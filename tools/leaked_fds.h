// Descriptors that whoever started us left open by mistake: pipes and sockets of editors, terminals and CI systems,
// which the program would inherit and no checkpoint could save.
#ifndef STILLPOINT_TOOLS_LEAKED_FDS_H_
#define STILLPOINT_TOOLS_LEAKED_FDS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace stillpoint::tools {

struct LeakedFd {
  int number = 0;
  std::string object;  // "pipe:[4711]"
};

// Marks as close-on-exec every fd from 3 on that the program would inherit and that is a pipe, a socket or a device
// with a state of its own, unless it is one of our standard streams too, or `arguments` name it (/dev/fd/63,
// /proc/self/fd/63: the shell's <(command)). Says which.
absl::StatusOr<std::vector<LeakedFd>> withhold_leaked_fds(const std::vector<std::string>& arguments);

// "fd 251 (pipe:[4711]) and fd 252 (socket:[4712])".
std::string describe(const std::vector<LeakedFd>& fds);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_LEAKED_FDS_H_
