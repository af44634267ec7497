// memory_zoo REPORT DIRECTORY ROUNDS: every kind of mapping there is, used in every round; a line per use that depends
// on all bytes and all rounds before, so that two runs give the same lines. ERROR: something is wrong; CHANGED: a
// mapping is not what it was; SKIP: what this kernel or user has not. Ends after ROUNDS. With LOCK_ALL in its
// environment it calls mlockall(2).
#include "tests/e2e/programs/parts/memory_layout.h"
#include "tests/e2e/programs/parts/memory_private.h"
#include "tests/e2e/programs/parts/memory_shared.h"

using namespace memory;

namespace {

// MCL_FUTURE: a mapping made now is locked; without, it is not.
bool new_mappings_are_locked() {
  char* memory = map_private(kPage, MAP_NORESERVE);
  unsigned char resident = 0;
  const bool locked = memory != nullptr && ::mincore(memory, kPage, &resident) == 0 && (resident & 1) != 0;
  ::munmap(memory, kPage);
  return locked;
}

void install_fault_handler() {
  struct sigaction action = {};
  action.sa_handler = &on_fault;
  ::sigaction(SIGSEGV, &action, nullptr);
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  report_fd = ::open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  g_directory = argv[2];
  const uint64_t rounds = std::strtoull(argv[3], nullptr, 10);
  const bool lock_all = ::getenv("LOCK_ALL") != nullptr;
  install_fault_handler();
  Cases all, cases;
  add_private_cases(all);
  add_shared_cases(all);
  cases.reserve(all.size());
  for (std::unique_ptr<Case>& one : all) {
    // 64 GiB of addresses would have to be 64 GiB of memory.
    const std::string why = lock_all && one->name() == "sparse" ? "mlockall" : one->make();
    if (why.empty()) {
      cases.push_back(std::move(one));
    } else {
      say("SKIP %s: %s", one->name().c_str(), why.c_str());
    }
  }
  Layout layout;
  if (lock_all && ::mlockall(MCL_CURRENT | MCL_FUTURE) != 0) say("SKIP mlockall: errno %d", errno);
  for (uint64_t round = 1; round <= rounds; ++round) {
    for (const std::unique_ptr<Case>& one : cases) {
      const uint64_t result = one->use(round);
      say("%s %llu %016llx", one->name().c_str(), static_cast<unsigned long long>(round),
          static_cast<unsigned long long>(result));
    }
    if (new_mappings_are_locked() != lock_all) say("ERROR mlockall: new mappings are %slocked", lock_all ? "not " : "");
    if (round == 2) layout.remember();
    if (round > 2) layout.compare();
    say("round %llu", static_cast<unsigned long long>(round));
    ::usleep(10000);
  }
  say("done");
  return 0;
}
