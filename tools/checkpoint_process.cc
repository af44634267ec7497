#include "tools/checkpoint_process.h"

#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/image/image.h"
#include "helper/procfs/process_files.h"
#include "tools/console.h"
#include "tools/helper_process.h"
#include "tools/program_anchor.h"

namespace stillpoint::tools {
namespace {

// A program that is stopped by its checkpoint is gone before it can answer: the image is the answer.
absl::StatusOr<AnchorAnswer> image_of_stopped(const image::JobDirectory& directory, std::optional<uint64_t> before,
                                              const absl::Status& ended) {
  ASSIGN_OR_RETURN(const std::optional<uint64_t> latest, directory.latest());
  if (!latest || (before && *latest <= *before)) return ended;
  return AnchorAnswer{absl::StrCat(directory.name(), "/", image::image_name(*latest))};
}

absl::StatusOr<CheckpointReport> checkpoint_through_sdk(const CheckpointRequestOptions& options, uint64_t anchor,
                                                        const image::JobDirectory& directory) {
  ASSIGN_OR_RETURN(const std::optional<uint64_t> before, directory.latest());
  AnchorRequest request;
  ASSIGN_OR_RETURN(request.directory, absolute_path(options.directory));
  request.stop = options.stop;
  request.leave_out = options.leave_out;
  request.wait = options.wait;
  absl::StatusOr<AnchorAnswer> answer = request_through_anchor(options.pid, anchor, request);
  if (options.stop && absl::IsNotFound(answer.status())) answer = image_of_stopped(directory, before, answer.status());
  RETURN_IF_ERROR(answer.status());
  CheckpointReport report;
  report.image = answer->image;
  report.through_sdk = true;
  // The program keeps as many as it was told to; this caller may want fewer.
  if (options.keep_last > 0) {
    if (const absl::Status pruned = directory.prune(options.keep_last); !pruned.ok()) {
      report.notes.push_back(absl::StrCat("old images were not removed: ", pruned.message()));
    }
  }
  return report;
}

absl::StatusOr<CheckpointReport> checkpoint_directly(const CheckpointRequestOptions& options,
                                                     const image::JobDirectory& directory) {
  ASSIGN_OR_RETURN(HelperProcess helper, HelperProcess::start({}));
  protocol::Request request;
  protocol::CheckpointRequest& checkpoint = *request.mutable_checkpoint();
  checkpoint.set_pid(options.pid);
  checkpoint.set_stop(options.stop);
  checkpoint.set_keep_last(options.keep_last);
  checkpoint.set_no_embed(!options.embed);
  checkpoint.set_directory_name(options.directory);
  checkpoint.set_no_hooks(!options.hooks);
  for (const pid_t pid : options.leave_out) checkpoint.add_leave_out(pid);
  checkpoint.set_hooks_wait_ms(static_cast<uint32_t>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(options.wait), 1, std::numeric_limits<uint32_t>::max())));
  ProgressLine progress(absl::StrCat("checkpoint of pid ", options.pid));
  ASSIGN_OR_RETURN(HelperReply answer, helper.ask(request, {directory.fd()}, [&](const protocol::Event& event) {
    if (event.bytes_total() > 0) progress.update(event.bytes_done(), event.bytes_total());
  }));
  CheckpointReport report;
  report.image = absl::StrCat(options.directory, "/", answer.reply.image());
  report.statistics = answer.reply.statistics();
  report.notes.assign(answer.reply.notes().begin(), answer.reply.notes().end());
  return report;
}

}  // namespace

std::string without_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

absl::StatusOr<std::string> absolute_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&::free)> resolved(::realpath(path.c_str(), nullptr), &::free);
  if (resolved == nullptr) return errno_status(errno, absl::StrCat("realpath of ", path));
  return std::string(resolved.get());
}

absl::Status require_process(pid_t pid) {
  if (::kill(pid, 0) != 0 && errno != EPERM) return absl::NotFoundError(absl::StrCat("there is no process ", pid));
  const absl::StatusOr<procfs::TaskStatus> status = procfs::read_status(pid, pid);
  if (!status.ok()) {
    // A tid answers to kill(2) but has no /proc/TID/task/TID unless it leads its process.
    return absl::NotFoundError(absl::StrCat("pid ", pid, ": ", status.status().message()));
  }
  if (status->thread_group != pid) {
    return absl::InvalidArgumentError(
        absl::StrCat(pid, " is a thread of process ", status->thread_group, "; name the process"));
  }
  if (status->state == 'Z' || status->state == 'X') {
    return absl::NotFoundError(absl::StrCat("process ", pid, " has ended (it is a zombie)"));
  }
  return absl::OkStatus();
}

absl::StatusOr<CheckpointReport> checkpoint_process(const CheckpointRequestOptions& options) {
  RETURN_IF_ERROR(require_process(options.pid));
  ASSIGN_OR_RETURN(const image::JobDirectory directory, image::JobDirectory::open(options.directory, true));
  if (options.hooks) {
    ASSIGN_OR_RETURN(const std::optional<uint64_t> anchor, anchor_of(options.pid));
    if (anchor) return checkpoint_through_sdk(options, *anchor, directory);
  }
  return checkpoint_directly(options, directory);
}

std::string describe(const CheckpointReport& report, pid_t pid) {
  std::string text = absl::StrCat("checkpointed pid ", pid, " to ", report.image);
  if (report.through_sdk) return text + " (through its hooks)";
  const protocol::Statistics& statistics = report.statistics;
  absl::StrAppend(&text, ": ", format_bytes(statistics.bytes()), " in ", format_nanoseconds(statistics.total_ns()));
  // With --stop there is no end of the pause.
  if (statistics.pause_ns() > 0) absl::StrAppend(&text, ", pause ", format_nanoseconds(statistics.pause_ns()));
  return text;
}

}  // namespace stillpoint::tools
