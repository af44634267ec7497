// How a probe is run and what it answers. Private to this room.
#ifndef STILLPOINT_HELPER_CHECK_PROBE_H_
#define STILLPOINT_HELPER_CHECK_PROBE_H_

#include <sys/types.h>

#include <functional>
#include <string>

#include "absl/status/status.h"

namespace stillpoint::check {

struct Probe {
  bool available = false;
  std::string detail;
};

inline Probe yes(std::string detail = "") { return {true, std::move(detail)}; }
inline Probe no(std::string detail) { return {false, std::move(detail)}; }
// no(), with errno's name: "unshare(CLONE_NEWUSER): EPERM".
Probe failed(const std::string& call);
Probe from_status(const absl::Status& status);

// Runs `body` in a forked child and returns its answer. The child is killed when the caller dies or after some seconds,
// and its death without an answer (a seccomp filter that kills) is an answer too. Whatever `body` does to its own
// process is undone by the child's end; `body` must wait for its own children.
Probe in_child(const std::function<Probe()>& body);

// A child that does nothing until the object goes, for the attach probes.
class Target {
 public:
  enum class Permission {
    kNone,
    kParentAndItsChildren,  // PR_SET_PTRACER, as the SDK gives it to its helper
  };
  explicit Target(Permission permission);
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  pid_t pid() const { return pid_; }  // -1: fork failed

 private:
  pid_t pid_ = -1;
};

}  // namespace stillpoint::check

#endif  // STILLPOINT_HELPER_CHECK_PROBE_H_
