#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "tools/commands.h"
#include "tools/console.h"
#include "tools/exit_codes.h"
#include "tools/helper_process.h"
#include "tools/options.h"

namespace stillpoint::tools {
namespace {

constexpr char kDetails[] =
    "Asks the helper that checkpoint and restart would use what the kernel grants it: each capability and feature,\n"
    "what it enables, and what happens without it.\n"
    "\n"
    "Exit codes:\n"
    "    0  a restart is possible here\n"
    "    1  it is not\n"
    "  125  the helper could not be asked\n";

absl::StatusOr<protocol::Reply> ask_helper(bool json) {
  ASSIGN_OR_RETURN(HelperProcess helper, HelperProcess::start({}));
  protocol::Request request;
  request.mutable_check()->set_json(json);
  ASSIGN_OR_RETURN(HelperReply answer, helper.ask(request, {}));
  return std::move(answer.reply);
}

std::string with_newline(std::string text) {
  if (text.empty() || text.back() != '\n') text += '\n';
  return text;
}

}  // namespace

int check_command(const Arguments& arguments) {
  bool json = false;
  Options options("check [--json]", "Says what this machine and user can do.", kDetails);
  options.flag("json", json, "print the answer as JSON");
  std::vector<std::string> operands;
  int exit_code = kFailed;
  if (!parse_or_explain(options, arguments, 0, 0, operands, exit_code)) return exit_code;

  const absl::StatusOr<std::string> helper = find_helper();
  const absl::StatusOr<protocol::Reply> reply = helper.ok() ? ask_helper(json) : helper.status();
  if (!reply.ok()) {
    say_error(reply.status());
    return kFailed;
  }
  const std::string text = with_newline(reply->check_text());
  if (json) {
    print(text);
  } else {
    print(absl::StrCat("helper: ", *helper, "\n", text));
  }
  return reply->restart_possible() ? kSuccess : kNegative;
}

}  // namespace stillpoint::tools
