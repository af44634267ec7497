// The service: one helper per node, for many users.
#ifndef STILLPOINT_HELPER_SERVICE_LISTENER_H_
#define STILLPOINT_HELPER_SERVICE_LISTENER_H_

#include <sys/types.h>

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"

namespace stillpoint {

struct ListenerOptions {
  std::string path;  // of the socket
  std::string
      group;  // only members may connect (mode 0660); empty: everybody (0666): each gets at his own processes only
  size_t max_clients = 64;
  size_t max_clients_per_user = 8;  // root aside
};

class Listener {
 public:
  // Binds and listens. A socket that a dead service left at `path` is replaced; anything else there is an error.
  static absl::StatusOr<Listener> bind(const ListenerOptions& options);
  Listener(Listener&&) = default;
  ~Listener();

  // Serves each connection in a process of its own until SIGTERM or SIGINT; waits for those under way. SIGCHLD, SIGTERM
  // and SIGINT must be blocked.
  absl::Status run();

 private:
  Listener(const ListenerOptions& options, UniqueFd socket) : options_(options), socket_(std::move(socket)) {}
  absl::Status accept_one();
  void reap();
  absl::Status room_for(uid_t uid) const;

  ListenerOptions options_;
  UniqueFd socket_;
  std::map<pid_t, uid_t> children_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_SERVICE_LISTENER_H_
