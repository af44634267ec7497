#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "tools/checkpoint_process.h"
#include "tools/commands.h"
#include "tools/console.h"
#include "tools/exit_codes.h"
#include "tools/helper_process.h"
#include "tools/options.h"

namespace stillpoint::tools {
namespace {

constexpr char kDetails[] =
    "The program is stopped for a moment and runs on; nothing is written.\n"
    "\n"
    "Exit codes:\n"
    "    0  nothing would make a checkpoint refuse\n"
    "    1  something would: every finding is listed with its remedy\n"
    "  125  the audit failed\n";

// Findings are the answer here, not an error.
absl::StatusOr<protocol::FindingList> audit(pid_t pid, const std::vector<pid_t>& leave_out) {
  RETURN_IF_ERROR(require_process(pid));
  ASSIGN_OR_RETURN(HelperProcess helper, HelperProcess::start({}));
  protocol::Request request;
  request.mutable_audit()->set_pid(pid);
  for (const pid_t other : leave_out) request.mutable_audit()->add_leave_out(other);
  const absl::StatusOr<HelperReply> answer = helper.ask(request, {});
  if (answer.ok()) return answer->reply.findings();
  protocol::FindingList findings = findings_in(answer.status());
  if (findings.findings_size() > 0) return findings;
  return answer.status();
}

}  // namespace

int audit_command(const Arguments& arguments) {
  int64_t pid = 0;
  bool json = false;
  std::vector<pid_t> leave_out;
  Options options("audit --pid P [--json]", "Says what would make a checkpoint of a running program refuse.", kDetails);
  options.number("pid", "P", 1, INT32_MAX, pid, "the process")
      .required()
      .pids("leave-out", leave_out, "a process below it that a checkpoint would leave out; may be given several times")
      .flag("json", json, "print the findings as JSON");
  std::vector<std::string> operands;
  int exit_code = kFailed;
  if (!parse_or_explain(options, arguments, 0, 0, operands, exit_code)) return exit_code;
  const absl::StatusOr<protocol::FindingList> findings = audit(static_cast<pid_t>(pid), leave_out);
  if (!findings.ok()) {
    say_error(findings.status());
    return kFailed;
  }
  const int count = findings->findings_size();
  if (json) {
    print(findings_json(*findings));
  } else if (count == 0) {
    print(absl::StrCat("pid ", pid, " can be checkpointed\n"));
  } else {
    print(absl::StrCat("pid ", pid, " cannot be checkpointed: ", count, count == 1 ? " finding" : " findings", "\n",
                       format_findings(*findings)));
  }
  return count == 0 ? kSuccess : kNegative;
}

}  // namespace stillpoint::tools
