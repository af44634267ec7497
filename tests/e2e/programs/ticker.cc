// ticker FINISH [FILE]: computes and prints until the file FINISH is there. Knows nothing of checkpoints. FILE is kept
// open for writing all the time.
#include "tests/e2e/programs/ticker_control.h"
#include "tests/e2e/programs/ticker_work.h"

using namespace stillpoint::e2e;

int main(int argc, char** argv) {
  if (argc < 2) return 117;
  const int extra = argc > 2 ? ::open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0666) : -1;
  if (argc > 2 && extra < 0) return 116;
  std::string finish;
  int ticks = 0;
  uint64_t hash = 0;
  {
    TickerWork work;
    do {
      if (ticks == kMostTicks) return 113;
      hash = work.tick();
      put(STDOUT_FILENO, ticker_line("tick", ++ticks, hash));
      if (extra >= 0) put(extra, "x");
      ::usleep(2000);
    } while (!read_control(argv[1], finish));
  }
  put(STDOUT_FILENO, ticker_line("done", ticks, hash));
  return end_as_told(finish);
}
