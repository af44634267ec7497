// What is on its way from one end of a TCP connection to the other, both of which are on this host and belong to frozen
// processes: delivered, read without taking it out, and sent again.
#ifndef STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_QUEUE_H_
#define STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_QUEUE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace stillpoint {

// tcpi_state: TcpState of tcp_socket_diag.h.
absl::StatusOr<uint8_t> tcp_state(int fd);

// Makes the kernel deliver what `sender` has sent to `receiver`, and waits for it. False when something is still in the
// sender's queue at the deadline: the receiver's is full, or the sender is corked.
absl::StatusOr<bool> deliver_tcp(int sender, int receiver, absl::Time deadline);

// Everything that `receiver` has not read, when all has been delivered.
absl::StatusOr<std::string> read_delivered_tcp(int receiver);

// Whether TCP_REPAIR, which shows what has not been delivered, may be used (CAP_NET_ADMIN).
bool can_repair_tcp();

// Everything that `receiver` has not read and `sender` has sent, delivered or not, by TCP_REPAIR. Should the helper die
// on the way, a process of its own takes both out of repair mode.
absl::StatusOr<std::string> read_undelivered_tcp(int sender, int receiver);

// Sends all of `data` without waiting for anybody to read it. RESOURCE_EXHAUSTED when the kernel's limits do not let so
// much wait.
absl::Status send_all_tcp(int fd, absl::string_view data);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_TCP_SOCKET_QUEUE_H_
