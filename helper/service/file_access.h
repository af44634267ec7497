// Files are opened with the client's rights, not with the service's.
#ifndef STILLPOINT_HELPER_SERVICE_FILE_ACCESS_H_
#define STILLPOINT_HELPER_SERVICE_FILE_ACCESS_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/service/client.h"

namespace stillpoint {

// While it lives the calling thread, and threads and processes it starts, have the client's fsuid, fsgid and
// supplementary groups; the kernel then takes the capabilities that override file permissions away. Nothing changes
// when the helper has no more than the client has (it runs as that user), or for root.
class ClientFileAccess {
 public:
  static absl::StatusOr<ClientFileAccess> assume(const Client& client);
  ClientFileAccess(ClientFileAccess&& other) noexcept;
  ClientFileAccess& operator=(ClientFileAccess&&) = delete;
  ~ClientFileAccess();

 private:
  ClientFileAccess() = default;
  bool changed_ = false;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  std::vector<gid_t> groups_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_SERVICE_FILE_ACCESS_H_
