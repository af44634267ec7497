// The commands of `stillpoint`. Each takes the arguments behind its name and returns an exit code (exit_codes.h).
#ifndef STILLPOINT_TOOLS_COMMANDS_H_
#define STILLPOINT_TOOLS_COMMANDS_H_

#include <string>
#include <vector>

namespace stillpoint::tools {

using Arguments = std::vector<std::string>;

int checkpoint_command(const Arguments& arguments);
int restart_command(const Arguments& arguments);
int run_command(const Arguments& arguments);
int inspect_command(const Arguments& arguments);
int verify_command(const Arguments& arguments);
int audit_command(const Arguments& arguments);
int check_command(const Arguments& arguments);
int list_command(const Arguments& arguments);

// The whole program but inherit_signals(): `arguments` without argv[0].
int stillpoint_main(const Arguments& arguments);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_COMMANDS_H_
