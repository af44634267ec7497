// One living process of the tree that is being dumped: frozen, read, asked, copied, let go.
#ifndef STILLPOINT_HELPER_DUMP_MEMBER_H_
#define STILLPOINT_HELPER_DUMP_MEMBER_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "helper/dump/address_space_reader.h"
#include "helper/dump/application_calls.h"
#include "helper/dump/group_stop.h"
#include "helper/dump/open_files_reader.h"
#include "helper/dump/page_dump.h"
#include "helper/dump/pause_copies.h"
#include "helper/dump/sdk_thread.h"
#include "helper/dump/snapshot.h"
#include "helper/model/model.pb.h"
#include "helper/resources/finding.h"
#include "helper/tracee/frozen_tree.h"

namespace stillpoint {

class Member {
 public:
  // `process`, a message of `tree`, and `node` stay the caller's. `id` becomes that of its address space, file table,
  // signal table and filesystem context. `sdk`: of the process that called checkpoint(), else null.
  Member(FrozenTree::Node& node, uint64_t id, model::Tree& tree, model::Process& process,
         std::unique_ptr<AddressSpaceReader> memory, SdkThreadConnection* sdk);

  pid_t pid() const { return node_.pid; }
  const AddressSpaceReader& memory() const { return *memory_; }
  bool has_sdk() const { return sdk_ != nullptr; }

  // Everything that can be learned without a call of the process's own.
  absl::Status read(OpenFilesReader& files, Findings& findings);
  void audit(Findings& findings) const;
  // Threads and what only the process itself can say.
  absl::Status ask();
  // What a child of it has done that it has not been told of.
  absl::Status ask_about(Member& child) { return ask_unreported(*calls_, child.process_); }
  // What its timers and pending signals are, late: what the timers do on the way counts.
  absl::Status settle_signals();
  // Memory that is not saved and comes back as zeroes. To be said before find_copies().
  void exclude(std::vector<Range> ranges);
  // Where a new life looks for its RestoredInfo, for a process whose hooks have run but which did not ask for the dump.
  void set_restored_info(uint64_t address) { restored_info_ = address; }
  // What has to be copied in the pause: shared memory, what a fork does not inherit and, of a small process other than
  // the root, everything.
  absl::Status find_copies(bool is_root, SharedMemoryRegistry& shared);
  // Unless everything is copied. `why_not`: why there is none. `would_be_adopted`: by a process of the tree, which
  // would see it (trap 4 of the design).
  absl::Status take_snapshot(bool would_be_adopted, std::string& why_not);
  PauseCopies& copies() { return *copies_; }
  // Ends its own calls; the freezer may let it go then.
  absl::Status end_calls();

  // Enters the pages into the model, to be written as pages-`file`.bin; false: there are none.
  absl::StatusOr<bool> lay_out_pages(uint32_t file);
  absl::Status write_pages(image::ImageWriter& writer, const Progress& progress, std::string& why_outside);
  uint64_t page_bytes() const { return pages_.has_value() ? pages_->bytes() : 0; }
  model::AddressSpace& space() const { return *space_; }
  const model::Process& process() const { return process_; }

 private:
  absl::Status read_threads();
  absl::Status read_pending_again();
  absl::Status let_sdk_thread_answer();
  absl::Status ask_other_threads();
  absl::StatusOr<Snapshot> fork_snapshot(bool would_be_adopted);

  FrozenTree::Node& node_;
  const uint64_t id_;
  model::Tree& tree_;
  model::Process& process_;
  model::AddressSpace* space_ = nullptr;
  std::unique_ptr<AddressSpaceReader> memory_;
  SdkThreadConnection* sdk_;
  std::vector<Range> excluded_;  // whole pages
  uint64_t restored_info_ = 0;
  bool stopped_ = false;  // by job control
  pid_t living_tid_ = 0;  // a leader that has left shows neither mappings nor fds
  CodeGadgets gadgets_;
  Thread* primary_ = nullptr;
  std::unique_ptr<ApplicationCalls> calls_;  // of the primary thread
  std::optional<Snapshot> snapshot_;
  std::optional<PauseCopies> copies_;
  bool is_copied_ = false;  // all of it: there is no snapshot
  std::optional<PageDump> pages_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_MEMBER_H_
