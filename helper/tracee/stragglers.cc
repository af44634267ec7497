#include "helper/tracee/stragglers.h"

#include <algorithm>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "helper/tracee/thread.h"

namespace stillpoint {
namespace {

// Per tracing thread, as ptrace(2) is.
std::vector<pid_t>& stragglers() {
  static thread_local std::vector<pid_t> tids;
  return tids;
}

// True when the thread needs no more attention: detached or dead.
bool detach_if_stopped(pid_t tid) {
  Thread thread = Thread::adopt(tid);
  const absl::Status stopped = thread.wait_stopped(absl::InfinitePast());
  if (absl::IsDeadlineExceeded(stopped)) {
    thread.forget();
    return false;
  }
  return true;  // its destructor detaches
}

}  // namespace

size_t detach_stragglers() {
  std::vector<pid_t>& tids = stragglers();
  tids.erase(std::remove_if(tids.begin(), tids.end(), &detach_if_stopped), tids.end());
  return tids.size();
}

void remember_straggler(pid_t tid) { stragglers().push_back(tid); }

}  // namespace stillpoint
