#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/checkpoint_process.h"
#include "tools/commands.h"
#include "tools/console.h"
#include "tools/exit_codes.h"
#include "tools/options.h"

namespace stillpoint::tools {
namespace {

constexpr char kDetails[] =
    "The process is dumped with all processes below it. Those that link the SDK take part at their next checkpoint() "
    "or\n"
    "poll(), with their hooks: all of them or none; any other one is dumped as it stands. Whatever goes wrong, the "
    "program runs on and older images stay.\n"
    "\n"
    "Exit codes:\n"
    "    0  the image is durable; its path is printed\n"
    "    1  refused: every finding is listed with its remedy\n"
    "  124  the program reached no checkpoint() or poll() within --wait\n"
    "  125  the checkpoint failed\n";

}  // namespace

int checkpoint_command(const Arguments& arguments) {
  CheckpointRequestOptions request;
  int64_t pid = 0;
  int64_t keep = 0;
  bool no_hooks = false;
  bool no_embed = false;
  Options options("checkpoint --pid P [OPTION]... DIR", "Writes an image of a running program below DIR.", kDetails);
  options.number("pid", "P", 1, INT32_MAX, pid, "the process")
      .required()
      .flag("stop", request.stop, "end the process (SIGKILL) once the image is durable")
      .duration("wait", "TIME", request.wait,
                "how long a program that links the SDK may take to its next call\n(default 60s)")
      .pids("leave-out", request.leave_out,
            "a process below it that is not to be part of the image, nor what is\nbelow that one; may be given several "
            "times")
      .flag("no-hooks", no_hooks, "checkpoint a program that links the SDK without its cooperation")
      .number("keep", "N", 1, 1000000, keep, "afterwards remove all but the newest N images")
      .flag("no-embed", no_embed, "do not store the executable and libraries beside the images");
  std::vector<std::string> operands;
  int exit_code = kFailed;
  if (!parse_or_explain(options, arguments, 1, 1, operands, exit_code)) return exit_code;
  request.pid = static_cast<pid_t>(pid);
  request.directory = without_trailing_slashes(operands[0]);
  request.hooks = !no_hooks;
  request.embed = !no_embed;
  request.keep_last = static_cast<uint32_t>(keep);

  const absl::StatusOr<CheckpointReport> report = checkpoint_process(request);
  if (!report.ok()) {
    say_error(report.status());
    if (findings_in(report.status()).findings_size() > 0) return kNegative;
    return absl::IsDeadlineExceeded(report.status()) ? kTimedOut : kFailed;
  }
  for (const std::string& note : report->notes) say(absl::StrCat("note: ", printable(note)));
  say(describe(*report, request.pid));
  print(report->image + "\n");
  return kSuccess;
}

}  // namespace stillpoint::tools
