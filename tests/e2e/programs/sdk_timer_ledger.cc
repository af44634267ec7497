// sdk_timer_ledger REPORT DIR COUNT: as timer_ledger; the thread that some of the timers are aimed at takes COUNT
// checkpoints.
#include <stillpoint/checkpoint.h>

#include "tests/e2e/programs/parts/timer_ledger.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  blocked::Report::open(argv[1]);
  new ledger::TimerLedger;  // its threads run until the process is gone
  const int count = std::atoi(argv[3]);
  for (int done = 1; done <= count; ++done) {
    ::usleep(30000);
    const auto result = stillpoint::checkpoint({.directory = argv[2], .keep_last = 2});
    if (!result.ok()) {
      blocked::Report::line("ERROR checkpoint %d: %s", done, result.status().to_string().c_str());
      return 1;
    }
    const bool restored = result->outcome == stillpoint::Outcome::kRestored;
    blocked::Report::line("checkpoint %d %s", done, restored ? "restored" : "resumed");
  }
  ::usleep(300000);
  blocked::Report::line("done");
  return 0;
}
