// segments REPORT [whole]: a parent and a child with System V shared memory, which say in every round what they see of
// it. Ends when REPORT.stop exists. Lines that hold ERROR say what is not as it was. Unless "whole" is given, the
// middle of one of the segments is mapped by nobody.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstring>
#include <string>

#include "tests/e2e/programs/parts/expect.h"

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kKeyedSize = 5000;  // not whole pages
constexpr size_t kRemovedSize = 3 * kPage;
constexpr size_t kPartialSize = 64 * kPage;

std::string report;

bool over() { return access((report + ".stop").c_str(), F_OK) == 0; }

struct Keyed {
  std::atomic<unsigned> written, seen;
};

struct Segments {
  key_t key = static_cast<key_t>(0x53000000 + getpid());
  int keyed = shmget(key, kKeyedSize, IPC_CREAT | IPC_EXCL | 0640);
  int removed = shmget(IPC_PRIVATE, kRemovedSize, 0600);
  int partial = shmget(IPC_PRIVATE, kPartialSize, 0600);
};

char* attach(int id, int flags = 0) {
  void* const at = shmat(id, nullptr, flags);
  expect(at != reinterpret_cast<void*>(-1), "shmat");
  return static_cast<char*>(at);
}

void check_state(int id, key_t key, size_t size, unsigned mode, shmatt_t attachments, const char* what) {
  shmid_ds state = {};
  expect(shmctl(id, IPC_STAT, &state) == 0, what);
  const bool same = state.shm_perm.__key == key && state.shm_segsz == size && state.shm_perm.mode == mode &&
                    state.shm_perm.uid == geteuid() && state.shm_perm.cuid == geteuid();
  expect(same, what);
  expect(state.shm_nattch >= attachments, "attachments");  // a checkpoint's snapshot has them for a moment too
}

[[noreturn]] void child(const Segments& segments, const char* removed) {
  auto* const seen = reinterpret_cast<const Keyed*>(attach(segments.keyed, SHM_RDONLY));
  char* const page = reinterpret_cast<char*>(const_cast<Keyed*>(seen));
  expect(shmdt(attach(segments.keyed)) == 0, "shmdt");
  unsigned last = 0;
  while (!over()) {
    const unsigned now = seen->written;
    expect(now >= last, "the keyed segment");
    last = now;
    expect(mprotect(page, kPage, PROT_READ | PROT_WRITE) != 0, "an attachment for reading became writable");
    expect(std::strcmp(removed, "removed") == 0 && std::strcmp(removed + 2 * kPage, "last page") == 0, "content");
    tick();
  }
  expect(shmdt(removed) == 0 && shmdt(seen) == 0, "shmdt in the end");
  _exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) return 2;
  const bool hole = argc == 2;
  report = argv[1];
  report_fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const Segments segments;
  expect(segments.keyed >= 0 && segments.removed >= 0 && segments.partial >= 0, "shmget");
  say("segment %d", segments.keyed);
  say("segment %d", segments.partial);
  auto* const keyed = reinterpret_cast<Keyed*>(attach(segments.keyed));
  char* const removed = attach(segments.removed);
  expect(shmctl(segments.removed, IPC_RMID, nullptr) == 0, "IPC_RMID");
  std::strcpy(removed, "removed");
  std::strcpy(removed + 2 * kPage, "last page");
  const pid_t pid = fork();
  if (pid == 0) child(segments, removed);
  // A part that is not to be written makes three mappings of one.
  char* const partial = attach(segments.partial);
  std::memset(partial, 'p', kPartialSize);
  expect(!hole || munmap(partial + 8 * kPage, 8 * kPage) == 0, "munmap");
  expect(mprotect(partial + 32 * kPage, kPage, PROT_READ) == 0, "mprotect");
  const pid_t self = getpid();
  for (unsigned round = 1; !over(); ++round) {
    keyed->written = round;
    // The child's may be attached a moment later than here.
    check_state(segments.keyed, segments.key, kKeyedSize, 0640, 1, "the keyed segment's state");
    check_state(segments.removed, IPC_PRIVATE, kRemovedSize, 0600 | SHM_DEST, 2, "the removed segment's state");
    check_state(segments.partial, IPC_PRIVATE, kPartialSize, 0600, hole ? 4 : 3, "the partial segment's state");
    expect(shmget(segments.key, 0, 0) == segments.keyed, "the segment with the key");
    expect(partial[0] == 'p' && partial[7 * kPage] == 'p' && partial[32 * kPage] == 'p' &&
               partial[kPartialSize - 1] == 'p',
           "the partial segment");
    expect(getpid() == self, "pid");
    say("beat");
    tick();
  }
  char* const whole = attach(segments.partial);
  expect(whole[9 * kPage] == 'p' && shmdt(whole) == 0, "the part that is not mapped");
  int status = 0;
  expect(waitpid(pid, &status, 0) == pid && status == 0, "the child's end");
  expect(shmdt(removed) == 0 && shmdt(partial) == 0 && shmdt(keyed) == 0, "shmdt in the end");
  shmid_ds state = {};
  expect(shmctl(segments.removed, IPC_STAT, &state) != 0, "a removed segment outlives its attachments");
  expect(shmctl(segments.keyed, IPC_RMID, nullptr) == 0 && shmctl(segments.partial, IPC_RMID, nullptr) == 0,
         "IPC_RMID");
  say("end");
  return 0;
}
