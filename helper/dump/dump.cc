#include "helper/dump/dump.h"

#include <signal.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"
#include "helper/dump/address_space_reader.h"
#include "helper/dump/application_calls.h"
#include "helper/dump/attributes_reader.h"
#include "helper/dump/group_stop.h"
#include "helper/dump/manifest_builder.h"
#include "helper/dump/mapped_files.h"
#include "helper/dump/open_files_reader.h"
#include "helper/dump/ownership.h"
#include "helper/dump/page_dump.h"
#include "helper/dump/pause_copies.h"
#include "helper/dump/pause_watchdog.h"
#include "helper/dump/process_reader.h"
#include "helper/dump/shared_memory_registry.h"
#include "helper/dump/sharing_audit.h"
#include "helper/dump/snapshot.h"
#include "helper/dump/thread_reader.h"
#include "helper/dump/timers_reader.h"
#include "helper/image/image.h"
#include "helper/memory/excluded.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/process_audit.h"
#include "helper/tracee/frozen_process.h"
#include "helper/tracee/remote_call.h"

namespace stillpoint {
namespace {

constexpr absl::Duration kStopLimit = absl::Seconds(10);
// What the watchdog allows for steps that copy no data: longer than any wait in them.
constexpr absl::Duration kStepLimit = absl::Seconds(100);
constexpr uint64_t kRootId = 1;  // of the one process's address space, file table, ...

uint64_t nanoseconds(absl::Duration duration) { return static_cast<uint64_t>(absl::ToInt64Nanoseconds(duration)); }

// For steps that copy `bytes`, on the slowest storage that is still of use.
absl::Duration time_for(uint64_t bytes) {
  constexpr uint64_t kBytesPerSecond = uint64_t{16} << 20;
  return absl::Minutes(10) + absl::Seconds(static_cast<int64_t>(bytes / kBytesPerSecond));
}

absl::StatusOr<Thread> stop_thread(pid_t tid, absl::Time deadline) {
  ASSIGN_OR_RETURN(Thread thread, Thread::seize(tid));
  RETURN_IF_ERROR(thread.interrupt());
  RETURN_IF_ERROR(thread.wait_stopped(deadline));
  return thread;
}

std::vector<Range> excluded_ranges(const DumpOptions& options) {
  std::vector<Range> ranges;
  for (const protocol::MemoryRange& range : options.excluded) {
    ranges.push_back({range.start(), range.start() + range.length()});
  }
  return excluded_pages(std::move(ranges));
}

// One dump of one process, step by step. Whatever step fails, destroying the object lets the process run on.
class Dump {
 public:
  explicit Dump(const DumpOptions& options)
      : options_(options), memory_(mapped_files_, shared_), files_(shared_), excluded_(excluded_ranges(options)) {}

  absl::StatusOr<Findings> audit_only();
  absl::StatusOr<DumpResult> run(int directory_fd, DumpObserver& observer);

 private:
  absl::Status freeze();
  absl::Status read_without_calls();
  absl::Status audit();
  absl::Status read_threads();
  absl::Status read_pending_again();
  absl::Status settle_signals();
  absl::Status let_sdk_thread_answer();
  absl::Status ask();
  absl::Status ask_other_threads();
  absl::Status take_snapshot();
  absl::StatusOr<Snapshot> fork_snapshot();
  absl::Status resume(DumpObserver& observer);
  absl::Status write_pages(image::ImageWriter& writer, DumpObserver& observer);
  absl::StatusOr<std::string> publish(const image::JobDirectory& directory, const Ownership& ownership,
                                      image::ImageWriter& writer);
  absl::Status end_process();

  bool has_sdk() const { return options_.sdk_thread != nullptr; }
  uint64_t shared_memory_bytes() const;

  const DumpOptions& options_;
  model::Tree tree_;
  Findings findings_;
  MappedFiles mapped_files_;
  SharedMemoryRegistry shared_;
  AddressSpaceReader memory_;
  OpenFilesReader files_;
  CodeGadgets gadgets_;
  absl::Time frozen_at_;
  std::optional<PauseWatchdog> watchdog_;  // outlives frozen_: letting the threads go is watched too
  std::optional<FrozenProcess> frozen_;
  pid_t living_tid_ = 0;                     // of the process; a leader that has left shows neither mappings nor fds
  std::unique_ptr<ApplicationCalls> calls_;  // of the primary thread; gone when the pause ends
  bool stopped_ = false;                     // by job control
  Thread* primary_ = nullptr;
  std::optional<Snapshot> snapshot_;
  const std::vector<Range> excluded_;
  std::optional<PauseCopies> copies_;
  PageDump pages_;
  protocol::Statistics statistics_;
};

absl::Status Dump::freeze() {
  ASSIGN_OR_RETURN(watchdog_, PauseWatchdog::create());
  RETURN_IF_ERROR(memory_.read_ahead(options_.pid));
  RETURN_IF_ERROR(watchdog_->allow(options_.freeze_limit + kStepLimit));
  const absl::Time deadline = absl::Now() + options_.freeze_limit;
  for (;;) {
    frozen_at_ = absl::Now();
    ASSIGN_OR_RETURN(frozen_, FrozenProcess::freeze(options_.pid, deadline));
    stopped_ = group_stopped(*frozen_);
    if (!stopped_ || !has_sdk()) break;
    // The SDK's thread is to answer, and would not before SIGCONT.
    RETURN_IF_ERROR(frozen_->thaw());
    RETURN_IF_ERROR(wait_until_continued(options_.pid, deadline));
  }
  statistics_.set_freeze_ns(nanoseconds(absl::Now() - frozen_at_));
  living_tid_ = frozen_->threads().front().tid();
  die_if_stage("frozen");
  if (options_.authorize) RETURN_IF_ERROR(options_.authorize(options_.pid));
  return absl::OkStatus();
}

absl::Status Dump::read_without_calls() {
  model::Process& process = *tree_.add_processes();
  process.set_address_space(kRootId);
  process.set_file_table(kRootId);
  process.set_signal_table(kRootId);
  process.set_filesystem_context(kRootId);
  RETURN_IF_ERROR(read_process(options_.pid, process));
  process.set_inherits_session(process.session() != options_.pid);
  model::FilesystemContext& context = *tree_.add_filesystem_contexts();
  context.set_id(kRootId);
  RETURN_IF_ERROR(read_filesystem_context(options_.pid, living_tid_, context));

  std::set<int> left_out;
  if (has_sdk()) left_out.insert(options_.sdk_thread->own_fds().begin(), options_.sdk_thread->own_fds().end());
  RETURN_IF_ERROR(files_.scan(options_.pid, left_out, kRootId));
  model::AddressSpace& space = *tree_.add_address_spaces();
  space.set_id(kRootId);
  return memory_.read(options_.pid, living_tid_, findings_, space);
}

absl::Status Dump::audit() {
  files_.audit(findings_);
  audit_process(options_.pid, memory_.mappings(), findings_);
  audit_sharing(options_.pid, shared_, findings_);
  return findings_status(findings_);
}

absl::Status Dump::read_threads() {
  model::Process& process = *tree_.mutable_processes(0);
  for (Thread& thread : frozen_->threads()) {
    model::Thread& out = *process.add_threads();
    RETURN_IF_ERROR(with_context(read_thread(options_.pid, thread, out), absl::StrCat("tid ", thread.tid())));
    RETURN_IF_ERROR(read_pending_signals(thread, /*shared=*/false, out));
  }
  return read_pending_signals(frozen_->threads().front(), /*shared=*/true, process);
}

// The SDK's thread runs by now. It is stopped again for a moment when a timer sends its signals to it alone, or when it
// is the only thread.
absl::Status Dump::read_pending_again() {
  model::Process& process = *tree_.mutable_processes(0);
  Thread* any = nullptr;
  for (model::Thread& out : *process.mutable_threads()) {
    Thread* thread = frozen_->find(out.tid());
    if (thread == nullptr || !thread->stopped()) continue;
    RETURN_IF_ERROR(read_pending_signals(*thread, /*shared=*/false, out));
    any = thread;
  }
  const auto aimed_at_sdk = [this](const model::PosixTimer& timer) {
    return (timer.notify() & SIGEV_THREAD_ID) != 0 && timer.notify_tid() == options_.sdk_thread->tid();
  };
  const auto& timers = process.posix_timers();
  if (has_sdk() && (any == nullptr || std::any_of(timers.begin(), timers.end(), aimed_at_sdk))) {
    ASSIGN_OR_RETURN(Thread thread, stop_thread(options_.sdk_thread->tid(), absl::Now() + kStopLimit));
    for (model::Thread& out : *process.mutable_threads()) {
      if (out.tid() == thread.tid()) RETURN_IF_ERROR(read_pending_signals(thread, /*shared=*/false, out));
    }
    RETURN_IF_ERROR(read_pending_signals(thread, /*shared=*/true, process));
    return thread.detach();
  }
  return any == nullptr ? absl::OkStatus() : read_pending_signals(*any, /*shared=*/true, process);
}

// Late, when nothing is asked any more: what the timers do on the way counts.
absl::Status Dump::settle_signals() {
  model::Process& process = *tree_.mutable_processes(0);
  RETURN_IF_ERROR(ask_timers(
      *calls_, [this] { return read_pending_again(); }, process));
  RETURN_IF_ERROR(read_clocks(*tree_.mutable_clocks()));
  ASSIGN_OR_RETURN(const procfs::TaskStatus status, procfs::read_status(options_.pid, living_tid_));
  for (model::Thread& thread : *process.mutable_threads()) {
    if (!thread.restored_marker()) RETURN_IF_ERROR(prepare_thread(process, status.caught, thread));
  }
  enter_group_stop(stopped_, process);
  return absl::OkStatus();
}

absl::Status Dump::let_sdk_thread_answer() {
  const SdkThreadConnection& sdk = *options_.sdk_thread;
  Thread* thread = frozen_->find(sdk.tid());
  if (thread == nullptr) return absl::NotFoundError(absl::StrCat("the SDK's thread ", sdk.tid(), " is not there"));
  for (model::Thread& out : *tree_.mutable_processes(0)->mutable_threads()) {
    if (out.tid() != sdk.tid()) continue;
    RETURN_IF_ERROR(set_captured_context(options_.pid, sdk.context_address(), sdk.signal_mask(), out));
    out.set_restored_info(sdk.scratch());
  }
  RETURN_IF_ERROR(thread->detach());
  calls_ = std::make_unique<SdkApplicationCalls>(*options_.sdk_thread);
  return absl::OkStatus();
}

absl::Status Dump::ask() {
  ASSIGN_OR_RETURN(gadgets_, find_gadgets(living_tid_, memory_.mappings()));
  if (has_sdk()) {
    RETURN_IF_ERROR(let_sdk_thread_answer());
  } else {
    primary_ = &frozen_->threads().front();
    ASSIGN_OR_RETURN(RemoteCalls calls, RemoteCalls::begin(*primary_, options_.pid, gadgets_));
    calls_ = std::make_unique<RemoteApplicationCalls>(primary_->tid(), std::move(calls));
  }
  model::Process& process = *tree_.mutable_processes(0);
  for (model::Thread& thread : *process.mutable_threads()) {
    if (thread.tid() == calls_->tid()) RETURN_IF_ERROR(ask_thread(*calls_, thread));
  }
  RETURN_IF_ERROR(ask_process(*calls_, process));
  RETURN_IF_ERROR(ask_process_attributes(*calls_, process, *tree_.mutable_address_spaces(0)));
  model::SignalTable& signals = *tree_.add_signal_tables();
  signals.set_id(kRootId);
  RETURN_IF_ERROR(ask_signal_actions(*calls_, signals));
  RETURN_IF_ERROR(AddressSpaceReader::ask(*calls_, *tree_.mutable_address_spaces(0)));
  if (!has_sdk()) RETURN_IF_ERROR(AddressSpaceReader::ask_locking(*calls_, *tree_.mutable_address_spaces(0)));
  RETURN_IF_ERROR(ask_other_threads());
  return settle_signals();
}

absl::Status Dump::ask_other_threads() {
  bool asked_locking = false;
  for (model::Thread& out : *tree_.mutable_processes(0)->mutable_threads()) {
    if (out.tid() == calls_->tid()) continue;
    Thread* thread = frozen_->find(out.tid());
    if (thread == nullptr) return absl::NotFoundError(absl::StrCat("tid ", out.tid(), " has gone"));
    ASSIGN_OR_RETURN(RemoteCalls remote, RemoteCalls::begin(*thread, options_.pid, gadgets_));
    RemoteApplicationCalls calls(out.tid(), std::move(remote));
    RETURN_IF_ERROR(ask_thread(calls, out));
    // The SDK's thread makes no call that changes anything, so another one is asked.
    if (has_sdk() && !asked_locking) {
      RETURN_IF_ERROR(AddressSpaceReader::ask_locking(calls, *tree_.mutable_address_spaces(0)));
      asked_locking = true;
    }
    RETURN_IF_ERROR(calls.remote().end());
  }
  return absl::OkStatus();
}

// The process can run on once there is a snapshot of its memory and copies of what is not in it. Where one of the two
// cannot be had: longer pause, same image, the pages are written while the process stands still.
absl::Status Dump::take_snapshot() {
  const absl::Time begin = absl::Now();
  die_if_stage("before-snapshot");
  model::AddressSpace& space = *tree_.mutable_address_spaces(0);
  copies_.emplace(living_tid_, excluded_);
  RETURN_IF_ERROR(copies_->find_in_mappings(memory_, space));
  RETURN_IF_ERROR(copies_->find_in_shared_memory(shared_, *calls_));
  std::string why_not = options_.stop ? "" : copies_->why_not();
  if (why_not.empty()) {
    absl::StatusOr<Snapshot> snapshot = fork_snapshot();
    if (snapshot.ok()) snapshot_ = *std::move(snapshot);
    why_not = std::string(snapshot.status().message());
  }
  if (snapshot_.has_value()) {
    ASSIGN_OR_RETURN(const std::vector<procfs::Mapping> mappings, procfs::read_maps(snapshot_->pid()));
    ASSIGN_OR_RETURN(const std::vector<int> unforked, memory_.find_unforked(mappings, space));
    for (const int index : unforked) RETURN_IF_ERROR(copies_->find_in_mapping(memory_, index, space));
    const absl::Status copied = options_.stop ? absl::OkStatus() : copies_->copy();
    if (!copied.ok() && !absl::IsResourceExhausted(copied)) return copied;
    if (!copied.ok()) {
      why_not = std::string(copied.message());
      snapshot_.reset();
    }
  }
  if (!why_not.empty()) statistics_.set_method_reason(why_not);
  statistics_.set_snapshot_ns(nanoseconds(absl::Now() - begin));
  return absl::OkStatus();
}

absl::StatusOr<Snapshot> Dump::fork_snapshot() {
  if (feature_disabled("snapshot")) return absl::UnimplementedError("snapshots are switched off");
  if (has_sdk()) return Snapshot::fork_by_sdk(*options_.sdk_thread, gadgets_);
  return Snapshot::fork_by_remote_calls(options_.pid, *primary_, static_cast<RemoteApplicationCalls&>(*calls_).remote(),
                                        gadgets_);
}

absl::Status Dump::resume(DumpObserver& observer) {
  die_if_stage("before-resume");
  if (auto* remote = dynamic_cast<RemoteApplicationCalls*>(calls_.get())) RETURN_IF_ERROR(remote->remote().end());
  calls_.reset();
  RETURN_IF_ERROR(frozen_->thaw());
  RETURN_IF_ERROR(watchdog_->over());
  const uint64_t pause = nanoseconds(absl::Now() - frozen_at_);
  statistics_.set_pause_ns(pause);
  observer.resumed(pause);
  return absl::OkStatus();
}

uint64_t Dump::shared_memory_bytes() const {
  uint64_t bytes = 0;
  for (const SharedMemoryRegistry::Object& object : shared_.objects()) bytes += object.message.size();
  return bytes;
}

absl::Status Dump::write_pages(image::ImageWriter& writer, DumpObserver& observer) {
  const absl::Time begin = absl::Now();
  model::AddressSpace& space = *tree_.mutable_address_spaces(0);
  const bool frozen = !frozen_->threads().empty();
  const auto progress = [&](uint64_t done, uint64_t total) {
    if (frozen) watchdog_->allow(time_for(total - done)).IgnoreError();
    observer.progress(done, total);
  };
  const pid_t source = snapshot_.has_value() ? snapshot_->pid() : living_tid_;
  for (const SharedMemoryRegistry::Object& object : shared_.objects()) *tree_.add_shared_memories() = object.message;
  ASSIGN_OR_RETURN(const std::vector<procfs::Mapping> mappings, procfs::read_smaps(source));
  RETURN_IF_ERROR(AddressSpaceReader::settle_flags(mappings, snapshot_.has_value(), space));
  RETURN_IF_ERROR(pages_.lay_out(source, memory_.copied_in_pause(), excluded_, space));
  die_if_stage("writing");
  if (snapshot_.has_value()) {
    std::string why_outside;
    RETURN_IF_ERROR(
        pages_.write_from_snapshot(*snapshot_, memory_.mappings(), gadgets_, space, writer, progress, why_outside));
    statistics_.set_method(why_outside.empty() ? "snapshot" : "snapshot+outside");
    if (!why_outside.empty()) statistics_.set_method_reason(why_outside);
    snapshot_.reset();
  } else {
    statistics_.set_method("stop");
    RETURN_IF_ERROR(pages_.write_from_outside(source, writer, progress));
  }
  if (frozen) RETURN_IF_ERROR(watchdog_->allow(time_for(copies_->bytes())));
  RETURN_IF_ERROR(pages_.write_copies(*copies_, writer, space, tree_));
  statistics_.set_bytes(pages_.bytes());
  statistics_.set_pages(pages_.bytes() / kPageSize);
  statistics_.set_write_ns(nanoseconds(absl::Now() - begin));
  return absl::OkStatus();
}

absl::StatusOr<std::string> Dump::publish(const image::JobDirectory& directory, const Ownership& ownership,
                                          image::ImageWriter& writer) {
  // Trap 11: file contents are not in the image; what the process had written must be as durable as the image is.
  RETURN_IF_ERROR(files_.sync_files());
  for (const uint64_t id : memory_.shared_files()) RETURN_IF_ERROR(mapped_files_.sync(id));
  image::Manifest manifest;
  RETURN_IF_ERROR(describe_image(tree_, writer.sequence(), manifest));
  ownership.describe(manifest);
  if (options_.embed) RETURN_IF_ERROR(mapped_files_.store(directory, manifest));
  mapped_files_.add_to(tree_);
  RETURN_IF_ERROR(writer.write_file(image::kStateName, tree_.SerializeAsString()));
  die_if_stage("before-publish");
  return writer.publish(std::move(manifest), [&] { return ownership.admit(directory); });
}

// checkpoint --stop: nothing the process does after the image may count, so it dies while it is still frozen.
absl::Status Dump::end_process() {
  if (::kill(options_.pid, SIGKILL) != 0) return errno_status(errno, absl::StrCat("kill of pid ", options_.pid));
  return absl::OkStatus();
}

absl::StatusOr<Findings> Dump::audit_only() {
  RETURN_IF_ERROR(freeze());
  RETURN_IF_ERROR(read_without_calls());
  if (const absl::Status status = audit(); !status.ok() && findings_.empty()) return status;
  RETURN_IF_ERROR(frozen_->thaw());
  RETURN_IF_ERROR(watchdog_->over());
  return findings_;
}

absl::StatusOr<DumpResult> Dump::run(int directory_fd, DumpObserver& observer) {
  const absl::Time begin = absl::Now();
  ASSIGN_OR_RETURN(const image::JobDirectory directory,
                   image::JobDirectory::from_fd(directory_fd, options_.directory_name));
  ASSIGN_OR_RETURN(Ownership ownership, Ownership::of(options_.pid, options_.job_id));
  RETURN_IF_ERROR(ownership.look(directory));
  RETURN_IF_ERROR(directory.remove_leftovers());
  ASSIGN_OR_RETURN(image::ImageWriter writer, image::ImageWriter::create(directory));

  RETURN_IF_ERROR(freeze());
  RETURN_IF_ERROR(read_without_calls());
  RETURN_IF_ERROR(audit());
  RETURN_IF_ERROR(read_threads());
  RETURN_IF_ERROR(watchdog_->allow(kStepLimit));
  RETURN_IF_ERROR(ask());
  // From here on as much may be copied as there is: contents of deleted files, shared memory, with --stop all of it.
  RETURN_IF_ERROR(watchdog_->allow(time_for(0)));
  RETURN_IF_ERROR(files_.dump(tree_));
  RETURN_IF_ERROR(watchdog_->allow(time_for(shared_memory_bytes())));
  RETURN_IF_ERROR(take_snapshot());
  const bool stays_frozen = options_.stop || !snapshot_.has_value();
  RETURN_IF_ERROR(stays_frozen ? watchdog_->allow(time_for(0)) : resume(observer));
  RETURN_IF_ERROR(write_pages(writer, observer));
  if (stays_frozen && !options_.stop) RETURN_IF_ERROR(resume(observer));

  DumpResult result;
  if (options_.stop) RETURN_IF_ERROR(watchdog_->allow(time_for(pages_.bytes())));
  ASSIGN_OR_RETURN(result.image, publish(directory, ownership, writer));
  result.sequence = writer.sequence();
  if (options_.stop) RETURN_IF_ERROR(end_process());
  RETURN_IF_ERROR(directory.prune(options_.keep_last));
  statistics_.set_total_ns(nanoseconds(absl::Now() - begin));
  result.statistics = statistics_;
  return result;
}

}  // namespace

absl::StatusOr<DumpResult> dump(const DumpOptions& options, int directory_fd, DumpObserver& observer) {
  return Dump(options).run(directory_fd, observer);
}

absl::StatusOr<Findings> audit(const DumpOptions& options) { return Dump(options).audit_only(); }

}  // namespace stillpoint
