// fork_storm REPORT CHAINS LENGTH HOW: processes that do nothing but fork their successor and end, CHAINS of them at
// any time, LENGTH in each chain. HOW: "collected" by the root one by one, or by the "kernel". The last line, "end",
// says that there were neither more nor fewer.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tests/e2e/programs/parts/say.h"

namespace {

struct Counts {
  std::atomic<unsigned> born[256], ended;
};
Counts* counts = nullptr;

[[noreturn]] void run_chain(unsigned chain, unsigned length) {
  const unsigned number = ++counts->born[chain];
  if (number < length) {
    const pid_t pid = fork();
    if (pid == 0) run_chain(chain, length);
    if (pid < 0) say("ERROR fork: %s", std::strerror(errno));
  }
  ++counts->ended;
  _exit(7);
}

}  // namespace

int main(int, char** argv) {
  report_fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
  const unsigned chains = static_cast<unsigned>(atoi(argv[2])), length = static_cast<unsigned>(atoi(argv[3]));
  const bool collects = std::strcmp(argv[4], "collected") == 0;
  counts =
      static_cast<Counts*>(mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  if (counts == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return 90;
  if (!collects) signal(SIGCHLD, SIG_IGN);
  say("begin");
  for (unsigned chain = 0; chain < chains; ++chain) {
    const pid_t pid = fork();
    if (pid == 0) run_chain(chain, length);
    if (pid < 0) return 91;
  }
  unsigned collected = 0;
  int status = 0;
  while (waitpid(-1, &status, 0) > 0) {
    ++collected;
    if (status != W_EXITCODE(7, 0)) say("ERROR an end with status %x", static_cast<unsigned>(status));
  }
  if (errno != ECHILD) say("ERROR waitpid: %s", std::strerror(errno));
  if (collects && collected != chains * length) say("ERROR %u processes were collected", collected);
  if (counts->ended != chains * length) say("ERROR %u processes have ended", counts->ended.load());
  for (unsigned chain = 0; chain < chains; ++chain) {
    if (counts->born[chain] != length) say("ERROR chain %u has had %u members", chain, counts->born[chain].load());
  }
  say("end");
  return 0;
}
