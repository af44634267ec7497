// family REPORT: a process and what a process can have around it, each of which says in every round what it sees of
// itself. Ends when REPORT.stop exists. Lines that hold ERROR say what is not as it was.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <string>

#include "tests/e2e/programs/parts/expect.h"

namespace {

std::string stop_file;
struct Shared {
  std::atomic<unsigned> rounds[8];
  std::atomic<unsigned> signals;
};
Shared* shared = nullptr;

bool over() { return access(stop_file.c_str(), F_OK) == 0; }

struct Identity {
  pid_t pid = getpid(), parent = getppid(), session = getsid(0), group = getpgrp();
};
// `own_session`: the starter's session and group are another one's in every life.
void check(const Identity& before, bool with_parent, bool own_session, bool own_group) {
  const Identity now;
  expect(now.pid == before.pid, "pid");
  expect(!with_parent || now.parent == before.parent, "parent");
  expect(!own_session || now.session == before.session, "session");
  expect(!own_group || now.group == before.group, "process group");
}

[[noreturn]] void live(int index, bool own_session, bool own_group) {
  const Identity identity;
  while (!over()) {
    check(identity, true, own_session, own_group);
    ++shared->rounds[index];
    tick();
  }
  _exit(40 + index);
}

pid_t start(void (*child)()) {
  const pid_t pid = fork();
  if (pid == 0) {
    child();
    _exit(91);
  }
  return pid;
}

void session_leader() {
  setsid();
  start([] { live(1, true, true); });
  live(2, true, true);
}

// A process group whose leader has ended and was collected: two members, the elder started by the leader's parent.
void left_group() {
  const pid_t leader = fork();
  if (leader == 0) {
    setpgid(0, 0);
    pause();
  }
  setpgid(leader, leader);
  const pid_t member = fork();
  if (member == 0) {
    while (setpgid(0, leader) != 0) tick();
    live(3, false, true);
  }
  while (getpgid(member) != leader) tick();
  kill(leader, SIGKILL);
  waitpid(leader, nullptr, 0);
  const Identity identity;
  while (!over()) {
    check(identity, true, false, false);
    expect(getpgid(member) == leader, "the member's process group");
    ++shared->rounds[4];
    tick();
  }
  int status = 0;
  expect(waitpid(-leader, &status, 0) == member && status == W_EXITCODE(43, 0), "the end of the group's member");
  _exit(44);
}

void* go_on_without_leader(void*) {
  const pid_t pid = getpid();
  expect(syscall(SYS_gettid) != pid, "the thread is not the leader");
  while (!over()) {
    expect(getpid() == pid, "pid");
    ++shared->rounds[5];
    tick();
  }
  syscall(SYS_exit, 45);  // which of the two codes counts depends on the kernel
  return nullptr;
}

void leaderless() {
  pthread_t thread;
  pthread_create(&thread, nullptr, go_on_without_leader, nullptr);
  syscall(SYS_exit, 45);
}

pid_t root = 0;
void count_signal(int) {
  if (getpid() == root) ++shared->signals;
}

}  // namespace

int main(int, char** argv) {
  report_fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
  stop_file = std::string(argv[1]) + ".stop";
  shared =
      static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const pid_t exited = start([] { _exit(7); });
  const pid_t killed = start([] { raise(SIGUSR2); });
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(exited), &info, WEXITED | WNOWAIT);
  waitid(P_PID, static_cast<id_t>(killed), &info, WEXITED | WNOWAIT);
  root = getpid();
  signal(SIGCHLD, count_signal);
  int request[2], answer[2];
  if (pipe(request) != 0 || pipe(answer) != 0) return 92;
  const pid_t echo = fork();
  if (echo == 0) {
    close(request[1]);
    close(answer[0]);
    unsigned number;
    while (read(request[0], &number, sizeof number) == sizeof number) {
      number *= 3;
      if (write(answer[1], &number, sizeof number) != sizeof number) break;
    }
    _exit(40);
  }
  close(request[0]);
  close(answer[1]);
  const pid_t pids[] = {echo, start(session_leader), start(left_group), start(leaderless)};
  const int ends[] = {40, 42, 44, 45};

  const Identity identity;
  unsigned sent = 0, received = 0;
  for (unsigned round = 1; !over(); ++round) {
    check(identity, false, false, false);
    // One request ahead: something is always in a pipe.
    while (sent <= received) {
      if (write(request[1], &++sent, sizeof sent) != sizeof sent) return 93;
      if (write(request[1], &++sent, sizeof sent) != sizeof sent) return 93;
    }
    unsigned number = 0;
    expect(read(answer[0], &number, sizeof number) == sizeof number && number == 3 * ++received, "the echo's answer");
    if (shared->signals.exchange(0) != 0) expect(over(), "a SIGCHLD came although no child had ended");
    say("round %u", round);
    tick();
  }
  for (int i = 1; i <= 5; ++i) expect(shared->rounds[i] > 0, "a member did nothing");
  close(request[1]);
  int status = 0;
  expect(waitpid(exited, &status, 0) == exited && status == W_EXITCODE(7, 0), "the status of the child that exited");
  expect(waitpid(killed, &status, 0) == killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR2,
         "the status of the child that was killed");
  for (int i = 0; i < 4; ++i) {
    if (waitpid(pids[i], &status, 0) != pids[i] || status != W_EXITCODE(ends[i], 0)) {
      say("ERROR child %d ended with status %x instead of code %d", i, static_cast<unsigned>(status), ends[i]);
    }
  }
  expect(waitpid(-1, &status, __WALL) < 0, "no child is left");
  say("end");
  return 0;
}
