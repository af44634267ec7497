#include "tools/child_process.h"
#include "tools/commands.h"

int main(int argc, char** argv) {
  stillpoint::tools::inherit_signals();
  return stillpoint::tools::stillpoint_main(stillpoint::tools::Arguments(argv + (argc > 0 ? 1 : 0), argv + argc));
}
