#include "tools/restart_image.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "helper/base/errors.h"
#include "tools/checkpoint_process.h"
#include "tools/child_process.h"
#include "tools/console.h"
#include "tools/helper_process.h"
#include "tools/image_report.h"

namespace stillpoint::tools {
namespace {

using image::ImageReader;
using image::JobDirectory;

constexpr char kSupervisorLock[] = "supervisor.lock";

bool names_image(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  return image::image_sequence(name).has_value();
}

protocol::Request restart_request(const ImageReader& image, const RestartOptions& options) {
  protocol::Request request;
  protocol::RestartRequest& restart = *request.mutable_restart();
  restart.set_image_name(image.name());
  restart.set_no_embed(!options.embed);
  restart.set_new_namespace(options.new_namespace);
  for (const auto& [from, to] : options.map_paths) {
    protocol::PathMapping& mapping = *restart.add_map_paths();
    mapping.set_from(from);
    mapping.set_to(to);
  }
  return request;
}

// A restore that was cut off may have left a half-built process: it is our child, and nothing of it has run.
void end_unfinished_children() {
  for (const pid_t pid : children()) {
    (void)::kill(pid, SIGKILL);
    (void)wait_for(pid, absl::Now() + absl::Seconds(10));
  }
}

absl::StatusOr<Restarted> take_over(const ImageReader& image, HelperReply answer) {
  const protocol::Reply& reply = answer.reply;
  if (reply.pid() <= 0 || reply.child_pid() <= 0 || answer.fds.empty() ||
      (reply.own_namespace() && answer.fds.size() < 2)) {
    return absl::InternalError("the helper's reply to a restart names no process");
  }
  Restarted restarted;
  restarted.image = image.name();
  restarted.notes.assign(reply.notes().begin(), reply.notes().end());
  restarted.program.pid = reply.pid();
  restarted.program.child_pid = reply.child_pid();
  restarted.program.pidfd = std::move(answer.fds[0]);
  if (reply.own_namespace()) restarted.program.status_pipe = std::move(answer.fds[1]);

  const image::Manifest& manifest = image.manifest();
  const std::string pids =
      reply.own_namespace() && reply.inner_pid() != reply.pid()
          ? absl::StrCat("pid ", reply.inner_pid(), " in a pid namespace of its own, ", reply.pid(), " here")
          : absl::StrCat("pid ", reply.pid());
  say(absl::StrCat("restored ", program_name(manifest), " (", pids, ", ", task_counts(manifest), ") from ",
                   image.name(), ", taken ", format_time(manifest.created_ns()), " on ", printable(manifest.host())));
  for (const std::string& note : restarted.notes) say(absl::StrCat("note: ", printable(note)));
  return restarted;
}

absl::StatusOr<Restarted> restore_one(const ImageReader& image, const RestartOptions& options,
                                      const SignalInbox& inbox) {
  ASSIGN_OR_RETURN(HelperProcess helper, HelperProcess::start({.dies_with_us = true, .must_be_child = true}));
  ProgressLine progress(absl::StrCat("restoring ", image.name()));
  absl::StatusOr<HelperReply> answer = helper.ask(
      restart_request(image, options), {image.fd()},
      [&](const protocol::Event& event) {
        if (event.bytes_total() > 0) progress.update(event.bytes_done(), event.bytes_total());
      },
      inbox.ending_fd());
  progress.clear();
  absl::StatusOr<Restarted> restarted = answer.ok() ? take_over(image, *std::move(answer)) : answer.status();
  if (!restarted.ok()) {
    helper.kill();
    end_unfinished_children();
  }
  return restarted;
}

std::string joined(const std::vector<absl::Status>& damages) {
  return absl::StrJoin(damages, "; ",
                       [](std::string* out, const absl::Status& damage) { absl::StrAppend(out, damage.message()); });
}

// An image whose manifest does not open is as useless as one with damaged pages. Not so one we may not read.
absl::Status unreadable(const absl::Status& status) {
  if (absl::IsPermissionDenied(status)) return status;
  return absl::DataLossError(status.message());
}

// Opens and restores. Any failure of a damaged image is DATA_LOSS, whatever went wrong first.
absl::StatusOr<Restarted> try_image(const std::string& path, const RestartOptions& options, const SignalInbox& inbox) {
  const absl::StatusOr<ImageReader> image = ImageReader::open(path);
  if (!image.ok()) return unreadable(image.status());
  absl::StatusOr<Restarted> restarted = restore_one(*image, options, inbox);
  if (restarted.ok() || absl::IsCancelled(restarted.status()) || absl::IsDataLoss(restarted.status())) return restarted;
  ProgressLine progress(absl::StrCat("verifying ", path));
  const std::vector<absl::Status> damages =
      image->verify([&](uint64_t done, uint64_t total) { progress.update(done, total); });
  if (damages.empty()) return restarted;
  return absl::DataLossError(joined(damages));
}

absl::StatusOr<Restarted> newest_usable(const JobDirectory& directory, std::vector<uint64_t> sequences,
                                        const RestartOptions& options, const SignalInbox& inbox) {
  for (auto sequence = sequences.rbegin(); sequence != sequences.rend(); ++sequence) {
    const std::string path = absl::StrCat(directory.name(), "/", image::image_name(*sequence));
    absl::StatusOr<Restarted> restarted = try_image(path, options, inbox);
    if (restarted.ok() || !absl::IsDataLoss(restarted.status())) return restarted;
    say(absl::StrCat(path, " cannot be used: ", printable(restarted.status().message())));
  }
  return absl::DataLossError(absl::StrCat("no image in ", directory.name(), " can be used (", sequences.size(),
                                          " tried); nothing was started and nothing deleted"));
}

}  // namespace

absl::StatusOr<Restarted> restart_image(const std::string& path, const RestartOptions& options,
                                        const SignalInbox& inbox) {
  const std::string target = without_trailing_slashes(path);
  if (names_image(target)) {
    if (::access(target.c_str(), F_OK) != 0) return errno_status(errno, absl::StrCat("image ", target));
    return try_image(target, options, inbox);
  }

  ASSIGN_OR_RETURN(const JobDirectory directory, JobDirectory::open(target, false));
  ASSIGN_OR_RETURN(const std::vector<uint64_t> sequences, directory.sequences());
  if (sequences.empty()) return absl::NotFoundError(absl::StrCat("there is no image in ", target));
  if (options.fallback) return newest_usable(directory, sequences, options, inbox);

  const absl::StatusOr<std::optional<uint64_t>> latest = directory.latest();
  absl::Status status = latest.status();
  if (latest.ok() && !latest->has_value()) status = absl::DataLossError(absl::StrCat(target, "/latest is missing"));
  if (status.ok()) {
    absl::StatusOr<Restarted> restarted =
        try_image(absl::StrCat(target, "/", image::image_name(**latest)), options, inbox);
    if (restarted.ok() || !absl::IsDataLoss(restarted.status())) return restarted;
    status = restarted.status();
  }
  return with_context(absl::Status(status.code(), absl::StrCat(status.message(),
                                                               "; --fallback takes the newest image "
                                                               "that verifies")),
                      absl::StrCat("the latest image of ", target, " cannot be used"));
}

absl::Status parse_path_mapping(absl::string_view value, std::vector<std::pair<std::string, std::string>>& map_paths) {
  const size_t equals = value.find('=');
  if (equals == 0 || equals == absl::string_view::npos || equals + 1 == value.size()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", value, "\" is not OLD=NEW"));
  }
  map_paths.emplace_back(value.substr(0, equals), value.substr(equals + 1));
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> lock_job(const std::string& job_directory) {
  const std::string path = absl::StrCat(job_directory, "/", kSupervisorLock);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    // Restarting from a directory that we may only read is fine: nobody can publish there either.
    if (errno == EROFS || errno == EACCES) return fd;
    if (errno == ENOENT || errno == ENOTDIR) {
      return errno_status(errno, absl::StrCat("there is no checkpoint directory ", job_directory));
    }
    return errno_status(errno, absl::StrCat("open of ", path));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fd;  // a filesystem without such locks: no protection there
    char holder[32] = {};
    (void)::pread(fd.get(), holder, sizeof holder - 1, 0);
    const int pid = std::atoi(holder);
    return absl::UnavailableError(
        absl::StrCat("the job in ", job_directory, " is running: another `stillpoint run` or `stillpoint restart`",
                     pid > 0 ? absl::StrCat(" (pid ", pid, ")") : "", " supervises it; end that one first"));
  }
  const std::string ours = absl::StrCat(::getpid(), "\n");
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), ours.data(), ours.size(), 0) < 0) {
    // A full disk. The lock holds all the same; only its message will not say whose it is.
    return fd;
  }
  return fd;
}

std::string job_directory_of(const std::string& path) {
  std::string target = without_trailing_slashes(path);
  if (!names_image(target)) return target;
  const size_t slash = target.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : target.substr(0, slash);
}

std::string program_name(const image::Manifest& manifest) {
  const std::string first = manifest.program().substr(0, manifest.program().find(' '));
  const std::string name = first.substr(first.rfind('/') + 1);
  return name.empty() ? "the program" : printable(name);
}

}  // namespace stillpoint::tools
