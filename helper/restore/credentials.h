// Who the restored process may be, and how it becomes that.
#ifndef STILLPOINT_HELPER_RESTORE_CREDENTIALS_H_
#define STILLPOINT_HELPER_RESTORE_CREDENTIALS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/model/model.pb.h"
#include "helper/restore/call_list.h"

namespace stillpoint {

// The user on whose behalf a restore runs: what the new task has when it is cloned.
struct CallerCredentials {
  model::Credentials credentials;
  bool no_new_privs = false;
  bool own_user_namespace = false;  // capabilities are those of a namespace made for this restore
};

absl::StatusOr<CallerCredentials> read_caller_credentials();

// PERMISSION_DENIED, naming what is missing, when the image's process has ids or capabilities that the caller does not
// have and could not get: an image gives nobody anything.
absl::Status check_credentials(const model::Tree& tree, const CallerCredentials& caller);

// The calls by which a thread with the caller's credentials takes on `wanted`; none when they are equal already.
void plan_credentials(const model::Credentials& wanted, const CallerCredentials& caller, CallList& calls);

// While it lives, the calling thread opens files as the process's owner would: fsuid, fsgid, supplementary groups.
class FilesystemIdentity {
 public:
  static absl::StatusOr<FilesystemIdentity> assume(const model::Credentials& owner);
  FilesystemIdentity(FilesystemIdentity&& other) noexcept;
  ~FilesystemIdentity();

 private:
  FilesystemIdentity() = default;
  bool active_ = false;
  unsigned saved_fsuid_ = 0, saved_fsgid_ = 0;
  std::vector<unsigned> saved_groups_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_CREDENTIALS_H_
