// timer_ledger REPORT: one-shot timers without end (parts/timer_ledger.h), a heartbeat in REPORT.
#include "tests/e2e/programs/parts/timer_ledger.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  blocked::Report::open(argv[1]);
  ledger::TimerLedger timers;
  for (;;) ::pause();
}
