// Scenes of torture.cc about what processes are to each other.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_PROCESSES_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_PROCESSES_H_

#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/e2e/programs/parts/torture_children.h"

namespace torture {

inline void zombies() {
  std::vector<Child> children;
  for (unsigned i = random.between(1, 3); i > 0; --i) {
    children.push_back(fork_child({"zombies", random.one_in(4), random.one_in(4)}, tick_some));
    tick();
    if (random.one_in(2)) see_end(children.back());
  }
  tick_some();
  for (const Child& child : children) {
    tick();
    finish(child);
  }
}

// A stop is reported once, and so is the going on; neither comes again in a later life, and none is lost.
inline void stopped() {
  const sigset_t set = set_of(SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  static int go_on[2];
  REQUIRE(pipe2(go_on, O_CLOEXEC) == 0);
  const Child child = fork_child([] {
    self.is_stopped_at_times = true;
    tick_some();
    read_one<char>(go_on[0]);
    tick_some();
  });
  tick_some();
  EXPECT(!is_pending(SIGCHLD));
  REQUIRE(kill(child.pid, SIGSTOP) == 0);
  wait_for_signal(SIGCHLD);
  if (random.one_in(2)) tick_some();
  siginfo_t info;
  REQUIRE(DONE(waitid(P_PID, static_cast<id_t>(child.pid), &info, WSTOPPED)) == 0);
  EXPECT(info.si_code == CLD_STOPPED && info.si_status == SIGSTOP);
  tick_some();
  EXPECT(!is_pending(SIGCHLD));
  info.si_pid = 0;
  EXPECT(DONE(waitid(P_PID, static_cast<id_t>(child.pid), &info, WSTOPPED | WNOHANG)) == 0 && info.si_pid == 0);
  tick_some();
  REQUIRE(kill(child.pid, SIGCONT) == 0);
  wait_for_signal(SIGCHLD);
  if (random.one_in(2)) tick();
  REQUIRE(DONE(waitid(P_PID, static_cast<id_t>(child.pid), &info, WCONTINUED)) == 0);
  EXPECT(info.si_code == CLD_CONTINUED);
  tick();
  info.si_pid = 0;
  EXPECT(DONE(waitid(P_PID, static_cast<id_t>(child.pid), &info, WCONTINUED | WNOHANG)) == 0 && info.si_pid == 0);
  write_one(go_on[1], 'g');
  finish(child);
}

// A grandchild comes to the subreaper when its parent ends, with the signal it has asked for.
inline void orphans() {
  static bool with_signal, waits;
  with_signal = random.one_in(2);
  waits = random.one_in(2);
  REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
  static pid_t reaper;
  reaper = getpid();
  static int started[2], left[2];
  REQUIRE(pipe2(started, O_CLOEXEC) == 0 && pipe2(left, O_CLOEXEC) == 0);
  const Child middle = fork_child([] {
    const Child grandchild = fork_child([] {
      if (with_signal) REQUIRE(prctl(PR_SET_PDEATHSIG, SIGRTMIN + 3, 0, 0, 0) == 0);
      if (!with_signal) self.parent = 0;
      write_one(started[1], getpid());
      write_one(started[1], self.seed);
      write_one(started[1], self.slot);
      tick_some();
      if (with_signal) {
        self.parent = 0;
        write_one(left[1], 'x');
        wait_for_signal(SIGRTMIN + 3);
      } else {
        while (getppid() != reaper) wait_shortly();
      }
      self.parent = reaper;
      tick_some();
      if (with_signal) EXPECT(!is_pending(SIGRTMIN + 3));
      int signal = 0;
      EXPECT(prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0) == 0 && signal == (with_signal ? SIGRTMIN + 3 : 0));
    });
    tick();
    if (with_signal) read_one<char>(left[0]);
    if (waits) tick_some();
    note(grandchild.seed);
  });
  Child grandchild;
  grandchild.pid = read_one<pid_t>(started[0]);
  grandchild.seed = read_one<uint64_t>(started[0]);
  grandchild.slot = read_one<unsigned>(started[0]);
  tick();
  finish(middle);
  tick();
  finish(grandchild);
  close(started[0]), close(started[1]), close(left[0]), close(left[1]);
  int subreaper = 0;
  EXPECT(prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0) == 0 && subreaper == 1);
}

// A process group that outlives its leader.
inline void left_group() {
  static pid_t group;
  static bool collected;
  collected = random.one_in(2);
  const Child leader = fork_child({"left_group", false, true}, [] { tick(); });
  while (getpgid(leader.pid) != leader.pid) wait_shortly();
  group = leader.pid;
  std::vector<Child> members;
  for (unsigned i = random.between(1, 2); i > 0; --i) {
    members.push_back(fork_child([] {
      REQUIRE(setpgid(0, group) == 0);
      self.group = group;
      tick();
      const Child child = fork_child(tick_some);
      tick_some();
      finish(child);
    }));
    while (getpgid(members.back().pid) != group) wait_shortly();
  }
  see_end(leader);
  if (collected) finish(leader);
  tick_some();
  for (const Child& member : members) finish(member);
  if (!collected) finish(leader);
}

// Children from before and from after setsid.
inline void sessions() {
  if (self.pid == getpgid(0)) return tick();  // a group's leader may not
  const Child before = fork_child(tick_some);
  tick();
  REQUIRE(setsid() == self.pid);
  const pid_t old_session = self.session, old_group = self.group;
  self.session = self.group = self.pid;
  const Child after = fork_child({"sessions", false, random.one_in(2)}, tick_some);
  const Child own = fork_child({"sessions", true, false}, [] {
    const Child child = fork_child({"sessions", false, random.one_in(2)}, tick_some);
    tick_some();
    finish(child);
  });
  tick_some();
  EXPECT(getsid(before.pid) == (old_session != 0 ? old_session : getsid(self.root)));
  EXPECT(getpgid(before.pid) == (old_group != 0 ? old_group : getpgid(self.root)));
  EXPECT(getsid(after.pid) == self.pid);
  tick();
  finish(own);
  finish(before);
  finish(after);
}

// Children whose end is told by another signal than SIGCHLD, or by none. They have no libc of their own.
inline void exit_signals() {
  const int signal = random.one_in(2) ? SIGRTMIN + 4 : 0;
  const sigset_t set = set_of(SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  clone_args arguments{};
  arguments.exit_signal = static_cast<uint64_t>(signal);
  const timespec time = {0, static_cast<long>(random.between(1, 30)) * 1'000'000};
  const pid_t pid = DONE(static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments)));
  if (pid == 0) {
    const bool slept = syscall(SYS_nanosleep, &time, nullptr) == 0;
    syscall(SYS_exit_group, slept ? 13 : 14);
  }
  if (random.one_in(2)) {
    siginfo_t info;
    REQUIRE(DONE(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT | __WALL)) == 0);
  }
  tick_some();
  int status = 0;
  if (signal != 0) EXPECT(wait_for_signal(signal).si_pid == pid);
  REQUIRE(DONE(waitpid(pid, &status, __WALL)) == pid);
  EXPECT(status == W_EXITCODE(13, 0));
  tick();
  if (signal != 0) EXPECT(!is_pending(signal));
  EXPECT(!is_pending(SIGCHLD));
}

// Threads that pass a number round, each with something of its own to be kept; the leader may leave before the others.
struct Relay {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
  unsigned turn = 0, threads = 0, laps = 0;
  uint64_t value = 0;
  bool without_leader = false;
};
inline thread_local uint64_t own_value = 0;
inline void run_with(Relay& relay, unsigned index) {
  own_value = mix(index, 3);
  const pid_t tid = gettid();
  const std::string name = "relay " + std::to_string(index);
  pthread_setname_np(pthread_self(), name.c_str());
  Random dice(mix(self.seed, index));
  for (unsigned lap = 0; lap < relay.laps; ++lap) {
    pthread_mutex_lock(&relay.mutex);
    while (relay.turn != lap * relay.threads + index) pthread_cond_wait(&relay.turn_changed, &relay.mutex);
    relay.value = mix(relay.value, own_value);
    ++relay.turn;
    pthread_cond_broadcast(&relay.turn_changed);
    pthread_mutex_unlock(&relay.mutex);
    EXPECT(gettid() == tid && own_value == mix(index, 3));
    char now[16] = "";
    EXPECT(pthread_getname_np(pthread_self(), now, sizeof now) == 0 && name == now);
    rest(dice);
  }
}
inline void threads() {
  static Relay relay;
  relay = Relay();
  relay.threads = random.between(2, 4);
  relay.laps = random.between(3, 8);
  relay.without_leader = random.one_in(2);
  std::vector<pthread_t> running;
  for (unsigned i = relay.without_leader ? 1 : 0; i + 1 < relay.threads; ++i) {
    running.emplace_back();
    const auto run = [](void* index) -> void* {
      run_with(relay, static_cast<unsigned>(reinterpret_cast<uintptr_t>(index)));
      return nullptr;
    };
    REQUIRE(pthread_create(&running.back(), nullptr, run, reinterpret_cast<void*>(uintptr_t{i})) == 0);
  }
  if (!relay.without_leader) {
    run_with(relay, relay.threads - 1);
    for (const pthread_t thread : running) REQUIRE(pthread_join(thread, nullptr) == 0);
    note(relay.value);
    return;
  }
  static std::vector<pthread_t> others;
  others = running;
  const auto last = [](void*) -> void* {
    run_with(relay, 0);
    for (const pthread_t thread : others) pthread_join(thread, nullptr);
    EXPECT(getpid() == self.pid && gettid() != self.pid);
    note(relay.value);
    end();
  };
  const auto second_last = [](void*) -> void* {
    run_with(relay, relay.threads - 1);
    return nullptr;
  };
  pthread_t thread;
  REQUIRE(pthread_create(&thread, nullptr, second_last, nullptr) == 0);
  others.push_back(thread);
  REQUIRE(pthread_create(&thread, nullptr, last, nullptr) == 0);
  syscall(SYS_exit, 0);
}

// What every process has for itself.
inline void attributes() {
  const std::string home = self.directory + "/d" + std::to_string(self.seed % 1000);
  REQUIRE(mkdir(home.c_str(), 0777) == 0 || errno == EEXIST);
  REQUIRE(chdir(home.c_str()) == 0);
  const mode_t mask = random.below(0777);
  umask(mask);
  const rlimit limit = {random.between(300, 900), 1000};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  const int nice_value = static_cast<int>(random.below(5));
  REQUIRE(setpriority(PRIO_PROCESS, 0, nice_value) == 0);
  REQUIRE(prctl(PR_SET_NAME, "attributes", 0, 0, 0) == 0);
  const Child child = fork_child([] {
    REQUIRE(chdir("/") == 0);
    umask(0123);
    tick_some();
    char now[4096];
    EXPECT(getcwd(now, sizeof now) != nullptr && now == std::string("/"));
    EXPECT(umask(0) == 0123);
  });
  for (int i = 0; i < 3; ++i) {
    tick();
    char now[4096];
    EXPECT(getcwd(now, sizeof now) != nullptr && now == home);
    EXPECT(umask(mask) == mask);
    rlimit limit_now;
    EXPECT(getrlimit(RLIMIT_NOFILE, &limit_now) == 0 && limit_now.rlim_cur == limit.rlim_cur &&
           limit_now.rlim_max == limit.rlim_max);
    errno = 0;
    EXPECT(getpriority(PRIO_PROCESS, 0) == nice_value && errno == 0);
    EXPECT(prctl(PR_GET_NAME, now, 0, 0, 0) == 0 && now == std::string("attributes"));
  }
  finish(child);
}

}  // namespace torture

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_PROCESSES_H_
