// Where the restored process lives: in the restarter's namespaces when its pids can be had there, else in its own.
#ifndef STILLPOINT_HELPER_RESTORE_IDENTITY_H_
#define STILLPOINT_HELPER_RESTORE_IDENTITY_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/model/model.pb.h"

namespace stillpoint {

// OK when every pid and tid of the tree can be created here: free, and set_tid permitted. Otherwise why not.
absl::Status pids_available(const model::Tree& tree);

// Moves the calling process's future children into a new pid namespace, and into a user namespace when it lacks
// cap_sys_admin; `segments`: and there into an IPC namespace, where System V memory can have its ids again. The next
// fork is the namespace's init and must call enter_as_init.
struct NamespaceChoice {
  bool user = false;
};
absl::StatusOr<NamespaceChoice> unshare_identity(bool segments);
// In the init of the new namespace: a mount namespace with a /proc that shows the new pids.
absl::Status enter_as_init(std::vector<std::string>& notes);

// Lets the clocks of future children go on where the image's stopped. A note where that is not permitted.
void continue_clocks(const model::Clocks& clocks, std::vector<std::string>& notes);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_IDENTITY_H_
