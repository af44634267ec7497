// How a process of torture.cc starts others, how they end, and what their parent must see of it.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_CHILDREN_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_CHILDREN_H_

#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>

#include <memory>

#include "tests/e2e/programs/parts/torture_self.h"

namespace torture {

// How the process with this seed ends: a wait(2) status.
inline int ending_of(uint64_t seed) {
  const uint64_t hash = mix(seed, 77);
  constexpr int kSignals[] = {SIGKILL, SIGTERM, SIGUSR1, SIGHUP};
  return hash % 3 == 0 ? kSignals[hash / 3 % 4] : static_cast<int>(hash / 3 % 90) << 8;
}

[[noreturn]] inline void end() {
  board->digests[self.slot] = self.digest;
  const int ending = ending_of(self.seed);
  if (WIFEXITED(ending)) _exit(WEXITSTATUS(ending));
  const sigset_t set = set_of(WTERMSIG(ending));
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  kill(getpid(), WTERMSIG(ending));
  for (;;) pause();
}

struct Child {
  pid_t pid = 0;
  uint64_t seed = 0;
  unsigned slot = 0;
  std::shared_ptr<pthread_t> thread;  // that has forked it and still lives
  std::shared_ptr<sem_t> over;
};

using Body = void (*)();

struct Setting {
  const char* scene = "";
  bool own_session = false, own_group = false;
};

// In the new process, whichever way it has come into being.
[[noreturn]] inline void live(const Setting& setting, Body body, uint64_t seed, unsigned slot, pid_t parent) {
  self.seed = seed;
  self.slot = slot;
  self.digest = 0;
  self.scene = setting.scene;
  self.pid = getpid();
  self.parent = parent;
  self.is_stopped_at_times = false;
  if (setting.own_session) {
    REQUIRE(setsid() == getpid());
    self.session = self.group = self.pid;
  } else if (setting.own_group) {
    REQUIRE(setpgid(0, 0) == 0);
    self.group = self.pid;
  }
  random = Random(seed);
  body();
  check_identity();
  end();
}

inline Child new_child() {
  Child child;
  child.seed = random.next();
  child.slot = board->slots++;
  REQUIRE(child.slot < Board::kSlots);
  return child;
}

inline Child fork_child(const Setting& setting, Body body) {
  Child child = new_child();
  const pid_t parent = getpid();
  child.pid = DONE(fork());
  if (child.pid == 0) live(setting, body, child.seed, child.slot, parent);
  return child;
}
inline Child fork_child(Body body) { return fork_child({self.scene}, body); }

// From a thread of its own, which is gone when the child is there, or waits until the child has ended.
inline Child fork_from_thread(const Setting& setting, Body body) {
  struct Order {
    Child child;
    const Setting& setting;
    Body body;
    pid_t parent;
    sem_t forked, over;
    bool stays;
  };
  Order* order = new Order{new_child(), setting, body, getpid(), {}, {}, random.one_in(2)};
  sem_init(&order->forked, 0, 0);
  sem_init(&order->over, 0, 0);
  auto thread = std::make_shared<pthread_t>();
  const auto run = [](void* argument) -> void* {
    Order& given = *static_cast<Order*>(argument);
    const pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) live(given.setting, given.body, given.child.seed, given.child.slot, given.parent);
    given.child.pid = pid;
    const bool stays = given.stays;
    sem_post(&given.forked);
    if (stays) REQUIRE(sem_wait(&given.over) == 0);
    return nullptr;
  };
  REQUIRE(pthread_create(thread.get(), nullptr, run, order) == 0);
  REQUIRE(sem_wait(&order->forked) == 0);
  Child child = order->child;
  if (order->stays) {
    child.thread = thread;
    child.over = std::shared_ptr<sem_t>(&order->over, [order](sem_t*) { delete order; });
  } else {
    REQUIRE(pthread_join(*thread, nullptr) == 0);
    delete order;
  }
  return child;
}

// Whatever the child did, as its parent sees it in the end.
inline void take_end(const Child& child, int status) {
  if (status != ending_of(child.seed)) {
    say("ERROR pid %d, %s: child %d of seed %lx ended with status %x instead of %x", getpid(), self.scene, child.pid,
        child.seed, static_cast<unsigned>(status), static_cast<unsigned>(ending_of(child.seed)));
  }
  note(board->digests[child.slot]);
  if (child.thread != nullptr) {
    sem_post(child.over.get());
    REQUIRE(pthread_join(*child.thread, nullptr) == 0);
  }
}
inline void finish(const Child& child) {
  int status = 0;
  REQUIRE(DONE(waitpid(child.pid, &status, 0)) == child.pid);
  take_end(child, status);
}

// The child is a zombie from now on.
inline void see_end(const Child& child) {
  siginfo_t info;
  REQUIRE(DONE(waitid(P_PID, static_cast<id_t>(child.pid), &info, WEXITED | WNOWAIT)) == 0);
  EXPECT(info.si_pid == child.pid);
}

}  // namespace torture

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_CHILDREN_H_
