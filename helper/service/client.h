// Who speaks, and what he may have dumped.
#ifndef STILLPOINT_HELPER_SERVICE_CLIENT_H_
#define STILLPOINT_HELPER_SERVICE_CLIENT_H_

#include <sys/types.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/procfs/process_files.h"
#include "helper/protocol/channel.h"

namespace stillpoint {

struct Client {
  pid_t pid = 0;
  uid_t uid = 0;  // real
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary ones, of the process that connected
};

// The sender of a message, as the kernel names it (SCM_CREDENTIALS): SO_PEERCRED alone would name the creator of a
// socketpair even when a child of its speaks. UNAUTHENTICATED when the kernel does not say, or when the process that
// connected is not the one that speaks.
absl::StatusOr<Client> authenticate(const Channel& channel, const ReceivedPacket& message);

// PERMISSION_DENIED unless `status`, of the process to be dumped, says that all its user and group ids are the
// client's. Root may dump everything.
absl::Status authorize(const Client& client, pid_t target, const procfs::TaskStatus& status);

// The same, reading /proc/TARGET/status now.
absl::Status authorize(const Client& client, pid_t target);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_SERVICE_CLIENT_H_
