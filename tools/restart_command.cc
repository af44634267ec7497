#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/commands.h"
#include "tools/console.h"
#include "tools/exit_codes.h"
#include "tools/life_claim.h"
#include "tools/options.h"
#include "tools/restart_image.h"
#include "tools/supervisor.h"

namespace stillpoint::tools {
namespace {

constexpr char kDetails[] =
    "DIR is a checkpoint directory: its latest image is taken. The program becomes a child of this command, which\n"
    "forwards signals to it and waits for it. It has our stdin, stdout and stderr where it had its starter's.\n"
    "Everything in the image is checked before an instruction of the program runs.\n"
    "\n"
    "Exit codes:\n"
    "  the program's own; its death by a signal is re-raised\n"
    "   86  the image (with --fallback: every image) is damaged; nothing was started, nothing deleted\n"
    "  125  the restart failed; nothing of the program ran\n";

}  // namespace

int restart_command(const Arguments& arguments) {
  RestartOptions restart;
  bool no_embed = false;
  ClaimOptions ownership;
  Options options("restart [OPTION]... DIR|IMAGE", "Brings a program back from an image.", kDetails);
  options
      .flag("no-embed", no_embed,
            "refuse when the executable or a library was replaced, instead of\nmapping the stored copy")
      .value(
          "map-path", "OLD=NEW", [&](absl::string_view value) { return parse_path_mapping(value, restart.map_paths); },
          "files below OLD are now below NEW; may be given several times")
      .flag("fallback", restart.fallback, "when the latest image is damaged, take the newest that verifies")
      .flag("new-namespace", restart.new_namespace,
            "give the program a pid namespace of its own even when its pids\nare free")
      .text("job-id", "ID", ownership.job_id, "the job that DIR belongs to (default: as the batch system names it)")
      .flag("take-over", ownership.take_over, "go on in a directory that belongs to another job")
      .flag("beside", ownership.beside, "even when the program of the image still runs on this machine");
  std::vector<std::string> operands;
  int exit_code = kFailed;
  if (!parse_or_explain(options, arguments, 1, 1, operands, exit_code)) return exit_code;
  restart.embed = !no_embed;

  const std::string directory = job_directory_of(operands[0]);
  const absl::StatusOr<UniqueFd> lock = lock_job(directory);
  const absl::StatusOr<SignalInbox> inbox = lock.ok() ? SignalInbox::open() : lock.status();
  absl::StatusOr<LifeClaim> claim = inbox.ok() ? LifeClaim::begin(directory, ownership) : inbox.status();
  if (!claim.ok()) {
    say_error(claim.status());
    return kFailed;
  }
  absl::StatusOr<Restarted> restarted = restart_image(operands[0], restart, *inbox);
  if (absl::IsCancelled(restarted.status())) {
    const int signal_number = inbox->take_ending_signal();
    say("interrupted before the program ran; nothing was started");
    claim->withdraw();
    end_like(signal_number);  // a wait status: killed by that signal
  }
  if (!restarted.ok()) {
    say_error(restarted.status());
    return absl::IsDataLoss(restarted.status()) ? kNoUsableImage : kFailed;
  }
  claim->settle(restarted->program.pid);
  Supervisor supervisor(std::move(restarted->program), *inbox);
  const absl::StatusOr<int> status = supervisor.wait();
  claim->note_end();
  if (!status.ok()) {
    say_error(status.status());
    return kFailed;
  }
  end_like(*status);
}

}  // namespace stillpoint::tools
