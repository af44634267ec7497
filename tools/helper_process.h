// The conversation between a tool and the helper: one Request up, Events and one Reply down.
#ifndef STILLPOINT_TOOLS_HELPER_PROCESS_H_
#define STILLPOINT_TOOLS_HELPER_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "helper/base/unique_fd.h"
#include "helper/protocol/channel.h"

namespace stillpoint::tools {

// Where the helper is: STILLPOINT_HELPER, beside this executable, in ../libexec/stillpoint/, in the build tree, where
// it was to be installed. NOT_FOUND lists the places. "unix:PATH" names the socket of a helper that is a service.
absl::StatusOr<std::string> find_helper();

struct HelperReply {
  protocol::Reply reply;
  std::vector<UniqueFd> fds;
};

// A helper started for one request (or a connection to the service). Destroying the object hangs up and reaps it.
class HelperProcess {
 public:
  struct StartOptions {
    bool dies_with_us = false;   // PR_SET_PDEATHSIG: what it builds must not outlive this process
    bool must_be_child = false;  // refuse the service: what it starts could not become our child
  };
  static absl::StatusOr<HelperProcess> start(const StartOptions& options);
  HelperProcess(HelperProcess&& other) noexcept;
  HelperProcess& operator=(HelperProcess&&) = delete;
  ~HelperProcess();

  pid_t pid() const { return pid_; }  // 0: the service

  // Sends the request with its fds and hands every Event to `on_event` until the Reply comes. CANCELLED as soon as
  // `interruption_fd` (-1: none) is readable. UNAVAILABLE when the helper ended without a reply, saying how.
  // A Reply that says it failed is an error here, its findings in the payload (console.h).
  absl::StatusOr<HelperReply> ask(const protocol::Request& request, const std::vector<int>& fds,
                                  const std::function<void(const protocol::Event&)>& on_event = nullptr,
                                  int interruption_fd = -1);

  // Kills the helper, if it is ours, and reaps it.
  void kill();

 private:
  HelperProcess(Channel channel, pid_t pid, std::string path)
      : channel_(std::move(channel)), pid_(pid), path_(std::move(path)) {}
  absl::Status died();
  Channel channel_;
  pid_t pid_ = 0;
  std::string path_;
};

// The status a Reply stands for: OK for code 0, else code, message and findings.
absl::Status status_of(const protocol::Reply& reply);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_HELPER_PROCESS_H_
