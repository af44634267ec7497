// blocked_threads REPORT: 64 threads for ever, a line per heartbeat, a line with ERROR for whatever is wrong.
#include "tests/e2e/programs/parts/thread_zoo.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  blocked::Report::open(argv[1]);
  blocked::ThreadZoo zoo;
  for (;;) zoo.heartbeat();
}
