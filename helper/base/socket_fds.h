// fds beside a message of a UNIX socket (SCM_RIGHTS).
#ifndef STILLPOINT_HELPER_BASE_SOCKET_FDS_H_
#define STILLPOINT_HELPER_BASE_SOCKET_FDS_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <cstddef>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "helper/base/unique_fd.h"

namespace stillpoint {

inline constexpr size_t kMaxSocketFds = 8;

// sendmsg(2) of `bytes` with `fds`, EINTR aside and without SIGPIPE; -1 and errno. More than kMaxSocketFds: EINVAL.
ssize_t send_with_fds(int socket, absl::string_view bytes, absl::Span<const int> fds, int flags = 0);
// Takes over the fds that came with a received message, all of them.
std::vector<UniqueFd> take_fds(msghdr& message);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_BASE_SOCKET_FDS_H_
