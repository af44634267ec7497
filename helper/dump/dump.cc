#include "helper/dump/dump.h"

#include <linux/kcmp.h>
#include <signal.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/dump/address_space_reader.h"
#include "helper/dump/group_stop.h"
#include "helper/dump/manifest_builder.h"
#include "helper/dump/mapped_files.h"
#include "helper/dump/member.h"
#include "helper/dump/member_round.h"
#include "helper/dump/open_files_reader.h"
#include "helper/dump/ownership.h"
#include "helper/dump/page_dump.h"
#include "helper/dump/pause_copies.h"
#include "helper/dump/pause_watchdog.h"
#include "helper/dump/process_reader.h"
#include "helper/dump/shared_memory_registry.h"
#include "helper/dump/sharing_audit.h"
#include "helper/image/image.h"
#include "helper/memory/excluded.h"
#include "helper/model/births.h"
#include "helper/model/mappings.h"
#include "helper/tracee/frozen_tree.h"

namespace stillpoint {
namespace {

// What the watchdog allows for steps that copy no data: longer than any wait in them.
constexpr absl::Duration kStepLimit = absl::Seconds(100);
constexpr uint32_t kRootFile = 0;  // pages-0.bin: the root's; 1: what was copied; from 2 on: of the other processes

uint64_t nanoseconds(absl::Duration duration) { return static_cast<uint64_t>(absl::ToInt64Nanoseconds(duration)); }

// For steps that copy `bytes`, on the slowest storage that is still of use.
absl::Duration time_for(uint64_t bytes) {
  constexpr uint64_t kBytesPerSecond = uint64_t{16} << 20;
  return absl::Minutes(10) + absl::Seconds(static_cast<int64_t>(bytes / kBytesPerSecond));
}

std::vector<Range> excluded_ranges(const DumpOptions& options) {
  std::vector<Range> ranges;
  for (const protocol::MemoryRange& range : options.excluded) {
    ranges.push_back({range.start(), range.start() + range.length()});
  }
  return ranges;
}

// What the caller leaves out, the helper itself, and the task in between that the SDK starts it with where the program
// is pid 1 (sdk/helper_process.cc). A child that executes the tool shares no memory.
std::set<pid_t> not_of_the_program(const DumpOptions& options) {
  std::set<pid_t> pids = {::getpid()};
  if (::getppid() > 0 && sys_kcmp(options.pid, ::getppid(), KCMP_VM, 0, 0) == 0) pids.insert(::getppid());
  pids.insert(options.leave_out.begin(), options.leave_out.end());
  pids.erase(options.pid);
  return pids;
}

// One dump of one process tree, step by step. Whatever step fails, destroying the object lets all processes run on.
class Dump {
 public:
  explicit Dump(const DumpOptions& options)
      : options_(options), files_(shared_), left_out_(not_of_the_program(options)) {}

  absl::StatusOr<Findings> audit_only();
  absl::StatusOr<DumpResult> run(int directory_fd, DumpObserver& observer);
  // What those that wait for the outcome hear when they run again.
  void fail(const absl::Status& why);

 private:
  void read_ahead();
  absl::Status check_left_out() const;
  absl::Status run_pre_dump_hooks();
  absl::Status freeze();
  absl::Status enter_members();
  absl::Status read_without_calls();
  absl::Status audit();
  absl::Status ask();
  absl::Status take_snapshots();
  absl::Status fork_snapshots(std::string& why_not);
  absl::Status copy(std::string& why_not);
  absl::Status thaw();
  absl::Status resume(DumpObserver& observer);
  absl::Status write_pages(image::ImageWriter& writer, DumpObserver& observer);
  absl::StatusOr<std::string> publish(const image::JobDirectory& directory, const Ownership& ownership,
                                      image::ImageWriter& writer);
  absl::Status end_processes();
  // The step for every living process, the root first; an error says whose it is.
  absl::Status each_member(const std::function<absl::Status(Member&)>& step);

  bool has_sdk() const { return options_.sdk_thread != nullptr; }
  uint64_t shared_memory_bytes() const;

  const DumpOptions& options_;
  model::Tree tree_;
  Findings findings_;
  MappedFiles mapped_files_;
  SharedMemoryRegistry shared_;
  OpenFilesReader files_;
  std::map<pid_t, std::unique_ptr<AddressSpaceReader>> ahead_;
  absl::Time frozen_at_;
  std::optional<MemberRound> round_;       // outlives frozen_: what it tells is heard by those that run
  std::optional<PauseWatchdog> watchdog_;  // outlives frozen_: letting the threads go is watched too
  std::optional<FrozenTree> frozen_;
  std::vector<std::unique_ptr<Member>> members_;  // the living processes, the root first
  const std::set<pid_t> left_out_;
  CopiedPagesDump copied_pages_;
  bool needs_to_stay_frozen_ = false;  // until the pages are written
  bool runs_ = false;                  // the pause is over
  protocol::Statistics statistics_;
  std::vector<std::string> notes_;
};

// smaps is read while the processes still run. One that has gone by the time of the freeze is not missed, of one that
// came later it is read in the pause.
void Dump::read_ahead() {
  for (const pid_t pid : list_tree(options_.pid, left_out_)) {
    auto reader = std::make_unique<AddressSpaceReader>(mapped_files_, shared_);
    if (reader->read_ahead(pid).ok()) ahead_[pid] = std::move(reader);
  }
}

absl::Status Dump::check_left_out() const {
  if (options_.leave_out.empty()) return absl::OkStatus();
  const std::vector<pid_t> tree = list_tree(options_.pid, {});
  for (const pid_t pid : options_.leave_out) {
    if (pid != options_.pid && std::find(tree.begin(), tree.end(), pid) != tree.end()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("pid ", pid, " cannot be left out: it is no process below pid ", options_.pid));
  }
  return absl::OkStatus();
}

absl::Status Dump::run_pre_dump_hooks() {
  if (!options_.hooks) return absl::OkStatus();
  round_.emplace(MemberRound::Options{.root = options_.pid,
                                      .left_out = left_out_,
                                      .directory = options_.directory_name,
                                      .deadline = absl::Now() + options_.hooks_wait,
                                      .authorize = options_.authorize},
                 /*caller=*/has_sdk() ? options_.pid : 0);
  return round_->gather();
}

absl::Status Dump::freeze() {
  ASSIGN_OR_RETURN(watchdog_, PauseWatchdog::create());
  read_ahead();
  RETURN_IF_ERROR(watchdog_->allow(options_.freeze_limit + kStepLimit));
  absl::Time deadline = absl::Now() + options_.freeze_limit;
  for (;;) {
    frozen_at_ = absl::Now();
    ASSIGN_OR_RETURN(frozen_, FrozenTree::freeze(options_.pid, left_out_, deadline));
    const bool waits_for_continue = has_sdk() && group_stopped(frozen_->nodes().front().process);
    const bool whole = !round_.has_value() || round_->is_whole(*frozen_);
    if (!waits_for_continue && whole) break;
    RETURN_IF_ERROR(thaw());
    // The SDK's thread is to answer, and would not before SIGCONT.
    if (waits_for_continue) RETURN_IF_ERROR(wait_until_continued(options_.pid, deadline));
    if (whole) continue;
    RETURN_IF_ERROR(watchdog_->over());
    RETURN_IF_ERROR(round_->gather());
    RETURN_IF_ERROR(watchdog_->allow(options_.freeze_limit + kStepLimit));
    deadline = absl::Now() + options_.freeze_limit;
  }
  statistics_.set_freeze_ns(nanoseconds(absl::Now() - frozen_at_));
  die_if_stage("frozen");
  if (!options_.authorize) return absl::OkStatus();
  for (const FrozenTree::Node& node : frozen_->nodes()) RETURN_IF_ERROR(options_.authorize(node.pid));
  return absl::OkStatus();
}

absl::Status Dump::enter_members() {
  uint64_t id = 0;
  for (FrozenTree::Node& node : frozen_->nodes()) {
    if (node.pid == ::getppid()) {
      return absl::FailedPreconditionError(absl::StrCat("the processes below pid ", options_.pid,
                                                        " include the one that asks for this checkpoint, pid ",
                                                        node.pid, ": ask from outside of the tree"));
    }
    model::Process& process = *tree_.add_processes();
    if (node.zombie) {
      RETURN_IF_ERROR(read_zombie(node.pid, process));
      continue;
    }
    std::unique_ptr<AddressSpaceReader>& memory = ahead_[node.pid];
    if (memory == nullptr) memory = std::make_unique<AddressSpaceReader>(mapped_files_, shared_);
    SdkThreadConnection* const sdk = node.pid == options_.pid ? options_.sdk_thread : nullptr;
    members_.push_back(std::make_unique<Member>(node, ++id, tree_, process, std::move(memory), sdk));
    if (sdk != nullptr) members_.back()->exclude(excluded_ranges(options_));
    if (!round_.has_value()) continue;
    ASSIGN_OR_RETURN(std::vector<Range> excluded, round_->excluded_of(node.pid));
    if (!excluded.empty()) members_.back()->exclude(std::move(excluded));
    members_.back()->set_restored_info(round_->restored_info_of(node.pid));
  }
  ahead_.clear();
  return absl::OkStatus();
}

absl::Status Dump::each_member(const std::function<absl::Status(Member&)>& step) {
  for (const std::unique_ptr<Member>& member : members_) {
    RETURN_IF_ERROR(with_context(step(*member), absl::StrCat("pid ", member->pid())));
  }
  return absl::OkStatus();
}

absl::Status Dump::read_without_calls() {
  RETURN_IF_ERROR(enter_members());
  RETURN_IF_ERROR(each_member([&](Member& member) { return member.read(files_, findings_); }));
  mark_inherited_groups(tree_);
  return absl::OkStatus();
}

absl::Status Dump::audit() {
  files_.audit(findings_);
  std::set<pid_t> pids;
  for (const std::unique_ptr<Member>& member : members_) {
    member->audit(findings_);
    pids.insert(member->pid());
  }
  audit_sharing(pids, shared_, findings_);
  audit_deleted_files(files_, shared_, findings_);
  audit_segments(shared_, findings_);
  if (const absl::Status status = model::plan_births(tree_).status(); !status.ok()) {
    findings_.add({"SP-SESSION", absl::StrCat("the processes below pid ", options_.pid), std::string(status.message()),
                   "checkpoint a process further up, with which the session or group began, or start the program in a "
                   "way that leaves its leader alive"});
  }
  return findings_status(findings_);
}

absl::Status Dump::ask() {
  const auto ask_one = [&](Member& member) {
    RETURN_IF_ERROR(watchdog_->allow(kStepLimit));
    return member.ask();
  };
  RETURN_IF_ERROR(each_member(ask_one));
  std::map<pid_t, Member*> by_pid;
  const auto ask_parent = [&](Member& member) {
    by_pid[member.pid()] = &member;
    const auto parent = by_pid.find(member.process().parent_pid());
    return parent != by_pid.end() ? parent->second->ask_about(member) : absl::OkStatus();
  };
  RETURN_IF_ERROR(each_member(ask_parent));
  RETURN_IF_ERROR(each_member([](Member& member) { return member.settle_signals(); }));
  return read_clocks(*tree_.mutable_clocks());
}

// The processes can run on once there are snapshots of their memory and copies of what is not in them. Where one of the
// two cannot be had: longer pause, same image, the pages are written while the processes stand still.
absl::Status Dump::take_snapshots() {
  const absl::Time begin = absl::Now();
  die_if_stage("before-snapshot");
  uint64_t bytes = 0;
  const auto find_copies = [&](Member& member) {
    RETURN_IF_ERROR(member.find_copies(&member == members_.front().get(), shared_));
    bytes += member.copies().bytes();
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(each_member(find_copies));
  std::string why_not = options_.stop ? "" : why_not_copy(bytes);
  if (why_not.empty()) RETURN_IF_ERROR(fork_snapshots(why_not));
  if (why_not.empty() && !options_.stop) RETURN_IF_ERROR(copy(why_not));
  if (!why_not.empty()) statistics_.set_method_reason(why_not);
  needs_to_stay_frozen_ = !why_not.empty();
  statistics_.set_snapshot_ns(nanoseconds(absl::Now() - begin));
  return absl::OkStatus();
}

absl::Status Dump::fork_snapshots(std::string& why_not) {
  std::set<pid_t> adopting;  // subreapers, and what is below them
  return each_member([&](Member& member) {
    const model::Process& process = member.process();
    const bool would_be_adopted = adopting.contains(process.parent_pid());
    if (would_be_adopted || process.child_subreaper() || process.pid() == 1) adopting.insert(process.pid());
    return member.take_snapshot(would_be_adopted, why_not);
  });
}

absl::Status Dump::copy(std::string& why_not) {
  for (const std::unique_ptr<Member>& member : members_) {
    absl::Status copied = member->copies().copy();
    if (!copied.ok() && !absl::IsResourceExhausted(copied)) return copied;
    if (!copied.ok()) why_not = std::string(copied.message());
  }
  return absl::OkStatus();
}

// Children first: a parent that runs finds them running.
absl::Status Dump::thaw() {
  absl::Status first_error;
  for (auto node = frozen_->nodes().rbegin(); node != frozen_->nodes().rend(); ++node) {
    first_error.Update(node->process.thaw());
  }
  return first_error;
}

absl::Status Dump::resume(DumpObserver& observer) {
  die_if_stage("before-resume");
  for (const std::unique_ptr<Member>& member : members_) RETURN_IF_ERROR(member->end_calls());
  RETURN_IF_ERROR(files_.release_copies());
  RETURN_IF_ERROR(thaw());
  RETURN_IF_ERROR(watchdog_->over());
  runs_ = true;
  if (round_.has_value()) round_->resumed();
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
  for (const SharedMemoryRegistry::Object& object : shared_.objects()) *tree_.add_shared_memories() = object.message;
  std::vector<Member*> writing;
  uint64_t total = 0, written = 0;
  for (const std::unique_ptr<Member>& member : members_) {
    const uint32_t file = writing.empty() ? kRootFile : static_cast<uint32_t>(writing.size()) + CopiedPagesDump::kFile;
    ASSIGN_OR_RETURN(const bool any, member->lay_out_pages(file));
    if (!any) continue;
    writing.push_back(member.get());
    total += member->page_bytes();
  }
  die_if_stage("writing");
  const Progress progress = [&](uint64_t done, uint64_t /*of_this_one*/) {
    if (!runs_) watchdog_->allow(time_for(total - written - done)).IgnoreError();
    if (runs_ && round_.has_value()) round_->beat();
    observer.progress(written + done, total);
  };
  std::string why_outside;
  for (Member* member : writing) {
    RETURN_IF_ERROR(member->write_pages(writer, progress, why_outside));
    written += member->page_bytes();
  }
  for (const std::unique_ptr<Member>& member : members_) {
    if (!runs_) RETURN_IF_ERROR(watchdog_->allow(time_for(member->copies().bytes())));
    RETURN_IF_ERROR(copied_pages_.add(member->copies(), writer, member->space(), tree_));
  }
  RETURN_IF_ERROR(copied_pages_.finish(writer, tree_));
  statistics_.set_method(needs_to_stay_frozen_ ? "stop" : why_outside.empty() ? "snapshot" : "snapshot+outside");
  if (!why_outside.empty()) statistics_.set_method_reason(why_outside);
  statistics_.set_bytes(total + copied_pages_.bytes());
  statistics_.set_pages(statistics_.bytes() / kPageSize);
  statistics_.set_write_ns(nanoseconds(absl::Now() - begin));
  return absl::OkStatus();
}

absl::StatusOr<std::string> Dump::publish(const image::JobDirectory& directory, const Ownership& ownership,
                                          image::ImageWriter& writer) {
  // Trap 11: file contents are not in the image; what the process had written must be as durable as the image is.
  RETURN_IF_ERROR(files_.sync_files());
  const std::set<uint64_t> written = model::files_written_through_mappings(tree_);
  for (const uint64_t id : written) RETURN_IF_ERROR(mapped_files_.sync(id));
  image::Manifest manifest;
  RETURN_IF_ERROR(describe_image(tree_, writer.sequence(), manifest));
  ownership.describe(manifest);
  if (options_.embed) RETURN_IF_ERROR(mapped_files_.store(directory, written, manifest, notes_));
  mapped_files_.add_to(tree_);
  RETURN_IF_ERROR(writer.write_file(image::kStateName, tree_.SerializeAsString()));
  die_if_stage("before-publish");
  return writer.publish(std::move(manifest), [&] { return ownership.admit(directory); });
}

// checkpoint --stop: nothing the processes do after the image may count, so they die while they are still frozen.
absl::Status Dump::end_processes() {
  for (const std::unique_ptr<Member>& member : members_) {
    if (::kill(member->pid(), SIGKILL) != 0) return errno_status(errno, absl::StrCat("kill of pid ", member->pid()));
  }
  // Their ends stay uncollected until this helper's own, after its reply: in a pid namespace that a restart made the
  // init ends when it sees them, and a helper that has joined it with it.
  for (FrozenTree::Node& node : frozen_->nodes()) {
    for (Thread& thread : node.process.threads()) thread.forget();
  }
  return absl::OkStatus();
}

absl::StatusOr<Findings> Dump::audit_only() {
  RETURN_IF_ERROR(check_left_out());
  RETURN_IF_ERROR(freeze());
  RETURN_IF_ERROR(read_without_calls());
  if (const absl::Status status = audit(); !status.ok() && findings_.empty()) return status;
  RETURN_IF_ERROR(thaw());
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

  RETURN_IF_ERROR(check_left_out());
  RETURN_IF_ERROR(run_pre_dump_hooks());
  RETURN_IF_ERROR(freeze());
  RETURN_IF_ERROR(read_without_calls());
  RETURN_IF_ERROR(audit());
  RETURN_IF_ERROR(ask());
  // From here on as much may be copied as there is: contents of deleted files, shared memory, with --stop all of it.
  RETURN_IF_ERROR(watchdog_->allow(time_for(0)));
  RETURN_IF_ERROR(files_.dump(tree_));
  RETURN_IF_ERROR(watchdog_->allow(time_for(shared_memory_bytes())));
  RETURN_IF_ERROR(take_snapshots());
  const bool stays_frozen = options_.stop || needs_to_stay_frozen_;
  RETURN_IF_ERROR(stays_frozen ? watchdog_->allow(time_for(0)) : resume(observer));
  RETURN_IF_ERROR(write_pages(writer, observer));
  if (stays_frozen && !options_.stop) RETURN_IF_ERROR(resume(observer));

  DumpResult result;
  if (options_.stop) RETURN_IF_ERROR(watchdog_->allow(time_for(statistics_.bytes())));
  ASSIGN_OR_RETURN(result.image, publish(directory, ownership, writer));
  result.sequence = writer.sequence();
  if (round_.has_value()) round_->end(absl::OkStatus(), result.image, result.sequence);
  if (options_.stop) RETURN_IF_ERROR(end_processes());
  RETURN_IF_ERROR(directory.prune(options_.keep_last));
  statistics_.set_total_ns(nanoseconds(absl::Now() - begin));
  result.statistics = statistics_;
  result.notes = std::move(notes_);
  return result;
}

void Dump::fail(const absl::Status& why) {
  if (round_.has_value()) round_->set_failure(why);
}

}  // namespace

absl::StatusOr<DumpResult> dump(const DumpOptions& options, int directory_fd, DumpObserver& observer) {
  Dump dump(options);
  absl::StatusOr<DumpResult> result = dump.run(directory_fd, observer);
  if (!result.ok()) dump.fail(result.status());
  return result;
}

absl::StatusOr<Findings> audit(const DumpOptions& options) { return Dump(options).audit_only(); }

}  // namespace stillpoint
