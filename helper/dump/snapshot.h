// The snapshot: a forked copy-on-write copy of the application, from which the pages are written while it runs on.
//
// It is a grandchild of the application whose parent was reaped before any other thread could run, so no wait(2) of the
// application ever sees it: it belongs to init or the next subreaper above the application (trap 4 of the design). Its
// file table is its own and empty (trap 3). It is traced with PTRACE_O_EXITKILL: it cannot outlive the helper (trap 2).
#ifndef STILLPOINT_HELPER_DUMP_SNAPSHOT_H_
#define STILLPOINT_HELPER_DUMP_SNAPSHOT_H_

#include <sys/types.h>

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/dump/sdk_thread.h"
#include "helper/tracee/remote_call.h"
#include "helper/tracee/thread.h"

namespace stillpoint {

class Snapshot {
 public:
  // Forked by the SDK's own thread.
  static absl::StatusOr<Snapshot> fork_by_sdk(SdkThreadConnection& sdk, const CodeGadgets& gadgets);
  // Forked by remote calls of `thread`, whose `calls` must be in progress. UNIMPLEMENTED for an application that would
  // become the snapshot's parent: pid 1, or a child subreaper.
  static absl::StatusOr<Snapshot> fork_by_remote_calls(pid_t application, Thread& thread, RemoteCalls& calls,
                                                       const CodeGadgets& gadgets);
  Snapshot(Snapshot&&) = default;
  Snapshot& operator=(Snapshot&&) = default;
  ~Snapshot();  // kills it and reaps it

  pid_t pid() const { return thread_->tid(); }
  Thread& thread() { return *thread_; }

 private:
  explicit Snapshot(Thread thread) : thread_(std::move(thread)) {}
  // EXITKILL, no core file, its own empty file table.
  absl::Status isolate(const CodeGadgets& gadgets);

  std::optional<Thread> thread_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_SNAPSHOT_H_
