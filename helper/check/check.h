// What this machine and this user can do: every capability and kernel feature
// that Stillpoint uses, found out by using it, with what it enables and what its
// lack costs.
#ifndef STILLPOINT_HELPER_CHECK_CHECK_H_
#define STILLPOINT_HELPER_CHECK_CHECK_H_

#include <string>
#include <vector>

namespace stillpoint {

struct Capability {
  std::string name;  // stable: "pidfd_getfd", "cap_net_admin"
  bool available = false;
  std::string enables;  // what it is good for
  std::string without;  // what happens instead
  std::string detail;   // what was seen: a number, a failed system call
  bool needed_for_restart = false;
};

// Probes everything. `directory` is where O_DIRECT is tried; nothing is left in it. Leaves no process, descriptor,
// mapping or namespace behind; what cannot be undone happens in forked children, so that the caller should have no
// other threads. Takes a fraction of a second.
std::vector<Capability> check_machine(const std::string& directory = ".");

// Why no image can be restarted here, one line each; empty when it can.
std::vector<std::string> restart_obstacles(const std::vector<Capability>& capabilities);

// An aligned table for people, `width` columns wide; the last lines say whether a restart is possible.
std::string check_text(const std::vector<Capability>& capabilities, int width = 100);

// {"restart_possible": true, "obstacles": [...], "capabilities": [{"name": ..., ...}, ...]}
std::string check_json(const std::vector<Capability>& capabilities);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_CHECK_CHECK_H_
