#include "helper/service/client.h"

#include <sys/socket.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"

namespace stillpoint {
namespace {

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

absl::StatusOr<std::vector<gid_t>> peer_groups(int socket) {
  std::vector<gid_t> groups(64);
  for (;;) {
    socklen_t size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const int result = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
    if (result < 0 && errno == ERANGE && size > groups.size() * sizeof(gid_t)) {
      groups.resize(size / sizeof(gid_t));
      continue;
    }
    if (result < 0) return errno_status(errno, absl::StrCat("getsockopt(SO_PEERGROUPS) on fd ", socket));
    groups.resize(size / sizeof(gid_t));
    return groups;
  }
}

}  // namespace

absl::StatusOr<Client> authenticate(const Channel& channel, const ReceivedPacket& message) {
  if (message.sender.pid <= 0) {
    return absl::UnauthenticatedError("the kernel does not name the sender of the request (another pid namespace?)");
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(channel.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
    return errno_status(errno, absl::StrCat("getsockopt(SO_PEERCRED) on fd ", channel.fd()));
  }
  if (peer.pid != message.sender.pid) {
    return absl::UnauthenticatedError(absl::StrCat("pid ", message.sender.pid, " speaks on a connection that pid ",
                                                   peer.pid, " made; each process needs its own"));
  }
  Client client;
  client.pid = message.sender.pid;
  client.uid = message.sender.uid;
  client.gid = message.sender.gid;
  ASSIGN_OR_RETURN(client.groups, peer_groups(channel.fd()));
  return client;
}

absl::Status authorize(const Client& client, pid_t target, const procfs::TaskStatus& status) {
  if (client.uid == 0) return absl::OkStatus();
  for (const uint32_t uid : {status.uid, status.euid, status.suid, status.fsuid}) {
    if (uid != client.uid) {
      return absl::PermissionDeniedError(absl::StrCat("pid ", target, " runs with user id ", uid, ", the caller with ",
                                                      client.uid, "; only root may dump it"));
    }
  }
  for (const uint32_t gid : {status.gid, status.egid, status.sgid, status.fsgid}) {
    if (gid != client.gid) {
      return absl::PermissionDeniedError(absl::StrCat("pid ", target, " runs with group id ", gid, ", the caller with ",
                                                      client.gid, "; only root may dump it"));
    }
  }
  return absl::OkStatus();
}

absl::Status authorize(const Client& client, pid_t target) {
  ASSIGN_OR_RETURN(const procfs::TaskStatus status, procfs::read_status(target, target));
  return authorize(client, target, status);
}

}  // namespace stillpoint
