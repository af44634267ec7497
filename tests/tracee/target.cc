#include "target.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

std::atomic<bool> stopping{false};
std::atomic<int> stop_word{0};

namespace {
std::atomic<bool> has_failed{false};
}

void fail(const std::string& what) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  const int error = errno;
  has_failed = true;
  std::printf("FAIL %s (errno %d)\n", what.c_str(), error);
  std::fflush(stdout);
}

bool failed() { return has_failed; }

void announce_ready() {
  std::printf("ready\n");
  std::fflush(stdout);
}

void wait_for_command() {
  char command = 0;
  if (::read(STDIN_FILENO, &command, 1) < 0) fail("read of standard input");
  stopping = true;
  stop_word = 1;
}

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const int count = argc > 2 ? std::atoi(argv[2]) : 64;
  if (mode == "blocked") return run_blocked(count, argc > 3 && std::strcmp(argv[3], "helper-dies") == 0);
  if (mode == "vfork") return run_vfork();
  if (mode == "zombie-leader") return run_zombie_leader();
  if (mode == "thread-storm") return run_thread_storm();
  if (mode == "many") return run_many(count);
  if (mode == "rseq") return run_rseq();
  if (mode == "small-stack") return run_small_stack();
  if (mode == "seccomp") return run_seccomp();
  std::fprintf(stderr, "unknown mode %s\n", mode.c_str());
  return 2;
}
