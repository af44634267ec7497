#include "helper/service/file_access.h"

#include <grp.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"

namespace stillpoint {
namespace {

// setfsuid(2) reports no failure: asking for an impossible id tells the one in force.
uid_t current_fsuid() { return static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))); }
gid_t current_fsgid() { return static_cast<gid_t>(::setfsgid(static_cast<gid_t>(-1))); }

// The C library's setgroups changes all threads.
int set_thread_groups(const std::vector<gid_t>& groups) {
  return static_cast<int>(::syscall(SYS_setgroups, groups.size(), groups.data()));
}

}  // namespace

absl::StatusOr<ClientFileAccess> ClientFileAccess::assume(const Client& client) {
  ClientFileAccess access;
  if (::geteuid() != 0 || client.uid == 0) return access;
  const int count = ::getgroups(0, nullptr);
  if (count < 0) return errno_status(errno, "getgroups");
  access.groups_.resize(static_cast<size_t>(count));
  if (count > 0 && ::getgroups(count, access.groups_.data()) < 0) return errno_status(errno, "getgroups");
  access.uid_ = current_fsuid();
  access.gid_ = current_fsgid();

  if (set_thread_groups(client.groups) < 0) return errno_status(errno, "setgroups to the client's groups");
  access.changed_ = true;
  ::setfsgid(client.gid);
  ::setfsuid(client.uid);
  if (current_fsgid() != client.gid || current_fsuid() != client.uid) {
    return absl::PermissionDeniedError(
        absl::StrCat("setfsuid(", client.uid, "), setfsgid(", client.gid, "): refused by the kernel"));
  }
  return access;
}

ClientFileAccess::ClientFileAccess(ClientFileAccess&& other) noexcept
    : changed_(std::exchange(other.changed_, false)),
      uid_(other.uid_),
      gid_(other.gid_),
      groups_(std::move(other.groups_)) {}

ClientFileAccess::~ClientFileAccess() {
  if (!changed_) return;
  ::setfsuid(uid_);
  ::setfsgid(gid_);
  // Going on with a mixture of two users' rights would be worse than ending: this process serves one client.
  if (set_thread_groups(groups_) < 0 || current_fsuid() != uid_ || current_fsgid() != gid_) ::_exit(1);
}

}  // namespace stillpoint
