#include "tools/commands.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tools/console.h"
#include "tools/exit_codes.h"

namespace stillpoint::tools {
namespace {

struct Command {
  absl::string_view name;
  absl::string_view summary;
  int (*run)(const Arguments& arguments);
};

constexpr Command kCommands[] = {
    {"run", "start a program, or restart it from its newest image: the same line every time", run_command},
    {"checkpoint", "write an image of a running program", checkpoint_command},
    {"restart", "bring a program back from an image", restart_command},
    {"list", "list the images of a checkpoint directory", list_command},
    {"inspect", "show what is in an image", inspect_command},
    {"verify", "read an image and check every byte of it", verify_command},
    {"audit", "say what would make a checkpoint of a program refuse", audit_command},
    {"check", "say what this machine and user can do", check_command},
};

std::string overview() {
  std::string text =
      "Usage: stillpoint COMMAND [OPTION]... [OPERAND]...\n\n"
      "Checkpoints programs and brings them back.\n\nCommands:\n";
  for (const Command& command : kCommands) {
    absl::StrAppend(&text, "  ", command.name, std::string(12 - command.name.size(), ' '), command.summary, "\n");
  }
  return text +
         "\nstillpoint COMMAND --help explains a command; stillpoint --version prints the version.\n"
         "STILLPOINT_HELPER names the helper to use: its path, or unix:PATH for the socket of a service.\n";
}

}  // namespace

int stillpoint_main(const Arguments& arguments) {
  if (arguments.empty()) {
    say(absl::StrCat("a command is missing\n", overview()));
    return kFailed;
  }
  const std::string& name = arguments[0];
  if (name == "--help" || name == "-h" || name == "help") {
    print(overview());
    return kSuccess;
  }
  if (name == "--version") {
    print(absl::StrCat("stillpoint ", STILLPOINT_VERSION, "\n"));
    return kSuccess;
  }
  for (const Command& command : kCommands) {
    if (command.name == name) return command.run(Arguments(arguments.begin() + 1, arguments.end()));
  }
  say(absl::StrCat("there is no command \"", printable(name), "\"; see stillpoint --help"));
  return kFailed;
}

}  // namespace stillpoint::tools
