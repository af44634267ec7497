#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/image/image.h"
#include "tools/checkpoint_process.h"
#include "tools/child_process.h"
#include "tools/commands.h"
#include "tools/console.h"
#include "tools/duration.h"
#include "tools/exit_codes.h"
#include "tools/helper_process.h"
#include "tools/job_line.h"
#include "tools/leaked_fds.h"
#include "tools/life_claim.h"
#include "tools/options.h"
#include "tools/restart_image.h"
#include "tools/supervised_run.h"

namespace stillpoint::tools {
namespace {

constexpr char kDetails[] =
    "The same line starts a job and starts it again: when DIR holds no image the program is started, else the newest\n"
    "image that verifies is restarted. The program is our child: signals are forwarded to it, and its end is ours.\n"
    "A checkpoint that fails says why in one line, and the program runs on. A program that links the SDK is\n"
    "checkpointed at its next call, with its hooks; STILLPOINT_DIR and STILLPOINT_KEEP are set for it.\n"
    "\n";

Options::Setter signal_setter(int& target) {
  return [&target](absl::string_view value) {
    ASSIGN_OR_RETURN(const int parsed, parse_signal(value));
    if (!SignalInbox::receives(parsed)) {
      return absl::InvalidArgumentError(absl::StrCat(signal_name(parsed), " cannot be used for this"));
    }
    target = parsed;
    return absl::OkStatus();
  };
}

// Yama (ptrace_scope 1) lets a process attach to its descendants only, and the helper is our child, not the
// program's parent. The program says once, before it is itself, that we and ours may.
void allow_our_helper(pid_t supervisor) { (void)::prctl(PR_SET_PTRACER, supervisor); }

struct Started {
  SupervisedProgram program;
  int exit_code = kSuccess;  // kCannotExecute, kNotFound: there is no program
};

// A pipe that an editor's terminal leaves open in everything it starts would make every checkpoint refuse.
void withhold_leaks(const RunOptions& run) {
  if (run.keep_fds) return;
  const absl::StatusOr<std::vector<LeakedFd>> leaked = withhold_leaked_fds(run.program);
  if (!leaked.ok()) return say_error(leaked.status());
  if (leaked->empty()) return;
  say(absl::StrCat("note: the program does not get ", printable(describe(*leaked)),
                   " of whoever started this, which no checkpoint could save; --keep-fds passes them on"));
}

absl::StatusOr<Started> start_program(const RunOptions& run, const std::string& directory) {
  withhold_leaks(run);
  const pid_t supervisor = ::getpid();
  SpawnOptions spawn;
  spawn.path = run.program[0];
  spawn.arguments = run.program;
  spawn.environment = {{"STILLPOINT_DIR", directory}, {"STILLPOINT_KEEP", absl::StrCat(run.keep_last)}};
  if (!run.ownership.job_id.empty()) spawn.environment.emplace_back("STILLPOINT_JOB_ID", run.ownership.job_id);
  spawn.in_child = [supervisor] { allow_our_helper(supervisor); };
  ASSIGN_OR_RETURN(const SpawnedProcess spawned, spawn_process(spawn));
  Started started;
  if (spawned.exec_error != 0) {
    say(describe_exec_error(run.program[0], spawned.exec_error));
    started.exit_code = exit_code_of_exec_error(spawned.exec_error);
    return started;
  }
  started.program.pid = spawned.pid;
  started.program.child_pid = spawned.pid;
  started.program.pidfd.reset(sys_pidfd_open(spawned.pid, 0));
  return started;
}

int supervise(const RunOptions& run, SupervisedProgram program, LifeClaim& claim, const SignalInbox& inbox) {
  claim.settle(program.pid);
  SupervisedRun supervised(run, std::move(program), inbox);
  const absl::StatusOr<int> status = supervised.wait();
  claim.note_end();
  if (!status.ok()) {
    say_error(status.status());
    return kFailed;
  }
  if (supervised.stopped_by_checkpoint()) {
    say("checkpointed and ended; start the same line again to go on");
    return kRequeue;
  }
  end_like(*status);
}

int restart_newest(const RunOptions& run, LifeClaim& claim, const SignalInbox& inbox) {
  RestartOptions options;
  options.embed = run.embed;
  options.fallback = true;
  options.map_paths = run.map_paths;
  absl::StatusOr<Restarted> restarted = restart_image(run.directory, options, inbox);
  if (restarted.ok()) return supervise(run, std::move(restarted->program), claim, inbox);
  if (absl::IsCancelled(restarted.status())) {
    const int signal_number = inbox.take_ending_signal();
    claim.withdraw();
    say("interrupted before the program ran; nothing was started");
    end_like(signal_number);  // a wait status: killed by that signal
  }
  say_error(restarted.status());
  if (!absl::IsDataLoss(restarted.status())) {
    say(absl::StrCat("the images in ", run.directory, " were not found damaged, so the program was not started from ",
                     "its beginning; mend this and start the same line again"));
    return kFailed;
  }
  say(absl::StrCat("there are images in ", run.directory, ", so the program was not started from its beginning; ",
                   "--fresh does that"));
  return kNoUsableImage;
}

// Now, rather than at the first checkpoint of a long run.
absl::Status check_writable(const image::JobDirectory& directory) {
  if (::faccessat(directory.fd(), ".", W_OK | X_OK, AT_EACCESS) == 0) return absl::OkStatus();
  return errno_status(errno, absl::StrCat("no image could be written in ", directory.name(),
                                          ", so the program was not started: give this user permission to write there, "
                                          "or name another directory with --dir"));
}

absl::StatusOr<int> run_job(const RunOptions& run) {
  RETURN_IF_ERROR(find_helper().status());
  ASSIGN_OR_RETURN(const image::JobDirectory directory, image::JobDirectory::open(run.directory, true));
  ASSIGN_OR_RETURN(const UniqueFd lock, lock_job(run.directory));
  ASSIGN_OR_RETURN(const std::vector<uint64_t> sequences, directory.sequences());
  const bool restarts = !run.fresh && !sequences.empty();
  if (!restarts) RETURN_IF_ERROR(check_writable(directory));
  ASSIGN_OR_RETURN(LifeClaim claim, LifeClaim::begin(run.directory, run.ownership));
  ASSIGN_OR_RETURN(const SignalInbox inbox, SignalInbox::open());
  if (restarts) {
    if (const std::optional<std::string> line = other_line(directory, run.program); line.has_value()) {
      say(absl::StrCat("note: ", run.directory, " holds images of another line, which goes on: ", printable(*line),
                       " (--fresh starts yours)"));
    }
    return restart_newest(run, claim, inbox);
  }
  ASSIGN_OR_RETURN(const std::string absolute, absolute_path(run.directory));
  if (const absl::Status remembered = remember_line(directory, run.program); !remembered.ok()) say_error(remembered);
  ASSIGN_OR_RETURN(Started started, start_program(run, absolute));
  if (started.exit_code != kSuccess) return started.exit_code;
  return supervise(run, std::move(started.program), claim, inbox);
}

}  // namespace

int run_command(const Arguments& arguments) {
  RunOptions run;
  int64_t keep = run.keep_last;
  bool no_embed = false;
  Options options("run [OPTION]... --dir DIR -- PROGRAM [ARGUMENT]...",
                  "Starts a program, or restarts it from its newest image.", std::string(kDetails) + kExitCodeHelp);
  options.text("dir", "DIR", run.directory, "the checkpoint directory of this job; created when missing")
      .required()
      .duration("every", "TIME", run.every, "checkpoint this often: 90, 90s, 10m, 2h, 500ms; 0: never (the\ndefault)")
      .value("on-signal", "SIGNAL", signal_setter(run.on_signal), "checkpoint when this signal is received, e.g. USR1")
      .value("stop-on-signal", "SIGNAL", signal_setter(run.stop_on_signal),
             "on this signal checkpoint, end the program once the image is\ndurable, and exit with 85")
      .number("keep", "N", 1, 1000000, keep, "keep the newest N images (default 3)")
      .duration(
          "wait", "TIME", run.wait,
          "how long a program that links the SDK may take to its next call\n(default: the time of --every, else 60s)")
      .flag("fresh", run.fresh, "start the program from its beginning even when there are images")
      .flag("keep-fds", run.keep_fds,
            "pass on pipes, sockets and devices at fd 3 and above (default: only\nthose that an argument names as "
            "/dev/fd/N)")
      .flag("no-embed", no_embed, "do not store executable and libraries; at a restart refuse when\nthey were replaced")
      .value(
          "map-path", "OLD=NEW", [&](absl::string_view value) { return parse_path_mapping(value, run.map_paths); },
          "at a restart, files below OLD are now below NEW")
      .text("job-id", "ID", run.ownership.job_id, "the job that DIR belongs to (default: as the batch system names it)")
      .flag("take-over", run.ownership.take_over, "go on in a directory that belongs to another job")
      .flag("beside", run.ownership.beside, "even when the program of this directory still runs on this machine")
      .stop_at_operand();
  int exit_code = kFailed;
  if (!parse_or_explain(options, arguments, 1, SIZE_MAX, run.program, exit_code)) return exit_code;
  run.directory = without_trailing_slashes(run.directory);
  run.keep_last = static_cast<uint32_t>(keep);
  run.embed = !no_embed;
  const absl::StatusOr<int> code = run_job(run);
  if (code.ok()) return *code;
  say_error(code.status());
  return kFailed;
}

}  // namespace stillpoint::tools
