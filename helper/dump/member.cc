#include "helper/dump/member.h"

#include <signal.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"
#include "helper/dump/attributes_reader.h"
#include "helper/dump/group_stop.h"
#include "helper/dump/process_reader.h"
#include "helper/dump/thread_reader.h"
#include "helper/dump/timers_reader.h"
#include "helper/memory/excluded.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/process_audit.h"

namespace stillpoint {
namespace {

constexpr absl::Duration kStopLimit = absl::Seconds(10);
// Up to this much is copied in less time than a snapshot takes to be forked and isolated.
constexpr uint64_t kCopiedLimit = uint64_t{2} << 20;

absl::StatusOr<Thread> stop_thread(pid_t tid, absl::Time deadline) {
  ASSIGN_OR_RETURN(Thread thread, Thread::seize(tid));
  RETURN_IF_ERROR(thread.interrupt());
  RETURN_IF_ERROR(thread.wait_stopped(deadline));
  return thread;
}

}  // namespace

Member::Member(FrozenTree::Node& node, uint64_t id, model::Tree& tree, model::Process& process,
               std::unique_ptr<AddressSpaceReader> memory, SdkThreadConnection* sdk)
    : node_(node),
      id_(id),
      tree_(tree),
      process_(process),
      memory_(std::move(memory)),
      sdk_(sdk),
      stopped_(group_stopped(node.process)),
      living_tid_(node.process.threads().front().tid()) {}

absl::Status Member::read(OpenFilesReader& files, Findings& findings) {
  process_.set_address_space(id_);
  process_.set_file_table(id_);
  process_.set_signal_table(id_);
  process_.set_filesystem_context(id_);
  RETURN_IF_ERROR(read_process(pid(), living_tid_, process_));
  model::FilesystemContext& context = *tree_.add_filesystem_contexts();
  context.set_id(id_);
  RETURN_IF_ERROR(read_filesystem_context(pid(), living_tid_, context));
  std::set<int> left_out;
  if (has_sdk()) left_out.insert(sdk_->own_fds().begin(), sdk_->own_fds().end());
  RETURN_IF_ERROR(files.scan(pid(), living_tid_, left_out, id_));
  space_ = tree_.add_address_spaces();
  space_->set_id(id_);
  return memory_->read(living_tid_, findings, *space_);
}

void Member::audit(Findings& findings) const { audit_process(pid(), living_tid_, memory_->mappings(), findings); }

absl::Status Member::read_threads() {
  for (Thread& thread : node_.process.threads()) {
    model::Thread& out = *process_.add_threads();
    RETURN_IF_ERROR(with_context(read_thread(living_tid_, thread, out), absl::StrCat("tid ", thread.tid())));
    RETURN_IF_ERROR(read_pending_signals(thread, /*shared=*/false, out));
  }
  process_.set_leader_ended(living_tid_ != pid());
  return read_pending_signals(node_.process.threads().front(), /*shared=*/true, process_);
}

// The SDK's thread runs by now. It is stopped again for a moment when a timer sends its signals to it alone, or when it
// is the only thread.
absl::Status Member::read_pending_again() {
  Thread* any = nullptr;
  for (model::Thread& out : *process_.mutable_threads()) {
    Thread* thread = node_.process.find(out.tid());
    if (thread == nullptr || !thread->stopped()) continue;
    RETURN_IF_ERROR(read_pending_signals(*thread, /*shared=*/false, out));
    any = thread;
  }
  const auto aimed_at_sdk = [this](const model::PosixTimer& timer) {
    return (timer.notify() & SIGEV_THREAD_ID) != 0 && timer.notify_tid() == sdk_->tid();
  };
  const auto& timers = process_.posix_timers();
  if (has_sdk() && (any == nullptr || std::any_of(timers.begin(), timers.end(), aimed_at_sdk))) {
    ASSIGN_OR_RETURN(Thread thread, stop_thread(sdk_->tid(), absl::Now() + kStopLimit));
    for (model::Thread& out : *process_.mutable_threads()) {
      if (out.tid() == thread.tid()) RETURN_IF_ERROR(read_pending_signals(thread, /*shared=*/false, out));
    }
    RETURN_IF_ERROR(read_pending_signals(thread, /*shared=*/true, process_));
    return thread.detach();
  }
  return any == nullptr ? absl::OkStatus() : read_pending_signals(*any, /*shared=*/true, process_);
}

absl::Status Member::settle_signals() {
  RETURN_IF_ERROR(ask_timers(
      *calls_, [this] { return read_pending_again(); }, process_));
  ASSIGN_OR_RETURN(const procfs::TaskStatus status, procfs::read_status(pid(), living_tid_));
  for (model::Thread& thread : *process_.mutable_threads()) {
    if (!thread.restored_marker()) RETURN_IF_ERROR(prepare_thread(process_, status.caught, thread));
  }
  enter_group_stop(stopped_, process_);
  return absl::OkStatus();
}

absl::Status Member::let_sdk_thread_answer() {
  Thread* thread = node_.process.find(sdk_->tid());
  if (thread == nullptr) return absl::NotFoundError(absl::StrCat("the SDK's thread ", sdk_->tid(), " is not there"));
  for (model::Thread& out : *process_.mutable_threads()) {
    if (out.tid() != sdk_->tid()) continue;
    RETURN_IF_ERROR(set_captured_context(living_tid_, sdk_->context_address(), sdk_->signal_mask(), out));
    out.set_restored_info(sdk_->scratch());
  }
  RETURN_IF_ERROR(thread->detach());
  calls_ = std::make_unique<SdkApplicationCalls>(*sdk_);
  return absl::OkStatus();
}

absl::Status Member::ask() {
  RETURN_IF_ERROR(read_threads());
  if (restored_info_ != 0) process_.mutable_threads(0)->set_restored_info(restored_info_);
  ASSIGN_OR_RETURN(gadgets_, find_gadgets(living_tid_, memory_->mappings()));
  if (has_sdk()) {
    RETURN_IF_ERROR(let_sdk_thread_answer());
  } else {
    primary_ = &node_.process.threads().front();
    ASSIGN_OR_RETURN(RemoteCalls calls, RemoteCalls::begin(*primary_, living_tid_, gadgets_));
    calls_ = std::make_unique<RemoteApplicationCalls>(primary_->tid(), std::move(calls));
  }
  for (model::Thread& thread : *process_.mutable_threads()) {
    if (thread.tid() == calls_->tid()) RETURN_IF_ERROR(ask_thread(*calls_, thread));
  }
  RETURN_IF_ERROR(ask_process(*calls_, process_));
  RETURN_IF_ERROR(ask_process_attributes(*calls_, process_, *space_));
  model::SignalTable& signals = *tree_.add_signal_tables();
  signals.set_id(id_);
  RETURN_IF_ERROR(ask_signal_actions(*calls_, signals));
  RETURN_IF_ERROR(AddressSpaceReader::ask(*calls_, *space_));
  if (!has_sdk()) RETURN_IF_ERROR(AddressSpaceReader::ask_locking(*calls_, *space_));
  return ask_other_threads();
}

absl::Status Member::ask_other_threads() {
  bool asked_locking = false;
  for (model::Thread& out : *process_.mutable_threads()) {
    if (out.tid() == calls_->tid()) continue;
    Thread* thread = node_.process.find(out.tid());
    if (thread == nullptr) return absl::NotFoundError(absl::StrCat("tid ", out.tid(), " has gone"));
    ASSIGN_OR_RETURN(RemoteCalls remote, RemoteCalls::begin(*thread, living_tid_, gadgets_));
    RemoteApplicationCalls calls(out.tid(), std::move(remote));
    RETURN_IF_ERROR(ask_thread(calls, out));
    // The SDK's thread makes no call that changes anything, so another one is asked.
    if (has_sdk() && !asked_locking) {
      RETURN_IF_ERROR(AddressSpaceReader::ask_locking(calls, *space_));
      asked_locking = true;
    }
    RETURN_IF_ERROR(calls.remote().end());
  }
  return absl::OkStatus();
}

void Member::exclude(std::vector<Range> ranges) { excluded_ = excluded_pages(std::move(ranges)); }

absl::Status Member::find_copies(bool is_root, SharedMemoryRegistry& shared) {
  copies_.emplace(living_tid_, excluded_);
  RETURN_IF_ERROR(copies_->find_in_mappings(*memory_, *space_));
  RETURN_IF_ERROR(copies_->find_in_shared_memory(shared, *calls_));
  if (is_root) return absl::OkStatus();
  bool guards_known = true;
  ASSIGN_OR_RETURN(const std::vector<Range> pages,
                   find_own_pages(living_tid_, memory_->copied_in_pause(), *space_, guards_known));
  uint64_t bytes = 0;
  for (const Range& range : pages) bytes += range.size();
  if (!guards_known || bytes > kCopiedLimit) return absl::OkStatus();
  // Nothing will tell later what the flags of its mappings were in the pause.
  ASSIGN_OR_RETURN(const std::vector<procfs::Mapping> mappings, procfs::read_smaps(living_tid_));
  RETURN_IF_ERROR(AddressSpaceReader::settle_flags(mappings, /*forked=*/false, *space_));
  copies_->add_own_pages(pages);
  is_copied_ = true;
  return absl::OkStatus();
}

absl::StatusOr<Snapshot> Member::fork_snapshot(bool would_be_adopted) {
  if (feature_disabled("snapshot")) return absl::UnimplementedError("snapshots are switched off");
  if (would_be_adopted) {
    return absl::UnimplementedError("a snapshot would become the child of a subreaper that is part of the tree");
  }
  if (has_sdk()) return Snapshot::fork_by_sdk(*sdk_, gadgets_);
  return Snapshot::fork_by_remote_calls(living_tid_, *primary_, static_cast<RemoteApplicationCalls&>(*calls_).remote(),
                                        gadgets_);
}

absl::Status Member::take_snapshot(bool would_be_adopted, std::string& why_not) {
  if (is_copied_) return absl::OkStatus();
  absl::StatusOr<Snapshot> snapshot = fork_snapshot(would_be_adopted);
  if (!snapshot.ok()) {
    why_not = std::string(snapshot.status().message());
    return absl::OkStatus();
  }
  snapshot_ = *std::move(snapshot);
  ASSIGN_OR_RETURN(const std::vector<procfs::Mapping> mappings, procfs::read_maps(snapshot_->pid()));
  ASSIGN_OR_RETURN(const std::vector<int> unforked, memory_->find_unforked(mappings, *space_));
  for (const int index : unforked) RETURN_IF_ERROR(copies_->find_in_mapping(*memory_, index, *space_));
  return absl::OkStatus();
}

absl::Status Member::end_calls() {
  if (auto* remote = dynamic_cast<RemoteApplicationCalls*>(calls_.get())) RETURN_IF_ERROR(remote->remote().end());
  calls_.reset();
  return absl::OkStatus();
}

absl::StatusOr<bool> Member::lay_out_pages(uint32_t file) {
  if (is_copied_) return false;
  pages_.emplace(file);
  const pid_t source = snapshot_.has_value() ? snapshot_->pid() : living_tid_;
  ASSIGN_OR_RETURN(const std::vector<procfs::Mapping> mappings, procfs::read_smaps(source));
  RETURN_IF_ERROR(AddressSpaceReader::settle_flags(mappings, snapshot_.has_value(), *space_));
  RETURN_IF_ERROR(pages_->lay_out(source, memory_->copied_in_pause(), excluded_, *space_));
  return true;
}

absl::Status Member::write_pages(image::ImageWriter& writer, const Progress& progress, std::string& why_outside) {
  if (!snapshot_.has_value()) return pages_->write_from_outside(living_tid_, writer, progress);
  RETURN_IF_ERROR(
      pages_->write_from_snapshot(*snapshot_, memory_->mappings(), gadgets_, *space_, writer, progress, why_outside));
  snapshot_.reset();
  return absl::OkStatus();
}

}  // namespace stillpoint
