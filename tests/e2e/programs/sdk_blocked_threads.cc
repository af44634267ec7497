// sdk_blocked_threads REPORT DIR COUNT: 64 threads, COUNT checkpoints taken by one more, a heartbeat after each.
#include <stillpoint/checkpoint.h>

#include "tests/e2e/programs/parts/thread_zoo.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  blocked::Report::open(argv[1]);
  auto& zoo = *new blocked::ThreadZoo;  // its threads run until the process is gone
  zoo.heartbeat();
  const int count = std::atoi(argv[3]);
  for (int done = 1; done <= count;) {
    const auto result = stillpoint::checkpoint({.directory = argv[2], .keep_last = 2});
    if (!result.ok()) {
      blocked::Report::line("ERROR checkpoint %d: %s", done, result.status().to_string().c_str());
      return 1;
    }
    const bool restored = result->outcome == stillpoint::Outcome::kRestored;
    blocked::Report::line("checkpoint %d %s", done, restored ? "restored" : "resumed");
    ++done;
    zoo.heartbeat(1);
  }
  blocked::Report::line("done");
  return 0;
}
