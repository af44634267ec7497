// One connection: authenticate the client, carry out its one request, report.
#ifndef STILLPOINT_HELPER_SERVICE_SERVER_H_
#define STILLPOINT_HELPER_SERVICE_SERVER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "helper/base/unique_fd.h"

namespace stillpoint {

enum class ServerMode {
  kEmbedded,  // started by the program or tool that speaks; has its rights, or a few capabilities more
  kService,   // one for many users
};

struct ServerOptions {
  ServerMode mode = ServerMode::kEmbedded;
  absl::Duration request_limit = absl::Seconds(60);  // how long the client may take to say what it wants
};

// Receives one Request from `socket`, carries it out and sends the Reply. Every request gets one, also when it makes no
// sense; an error Status means that it could not be delivered, or that nobody asked anything.
absl::Status serve(UniqueFd socket, const ServerOptions& options);

// Says `status` to whoever is at the other end, without listening.
void refuse(UniqueFd socket, const absl::Status& status);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_SERVICE_SERVER_H_
