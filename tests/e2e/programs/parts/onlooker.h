// A process that watches itself: whatever a checkpoint leaves behind or disturbs becomes an ERROR or CHANGED line.
// Parts of the target programs onlooker and sdk_onlooker.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_ONLOOKER_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_ONLOOKER_H_

#include <dirent.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>

#include "tests/e2e/programs/parts/memory_layout.h"

namespace onlooker {

using memory::say;

inline std::atomic<int> child_signals{0};
inline std::atomic<unsigned> cycles[8];

// Every one of these calls ends by its time limit and by nothing else.
inline void sleepers(int which) {
  const timespec limit = {0, 7'000'000};
  int pipe_ends[2] = {-1, -1};
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGRTMIN + 5);
  uint32_t word = 0;
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0 || epoll < 0) std::_Exit(6);
  pollfd waited = {pipe_ends[0], POLLIN, 0};
  for (;;) {
    errno = 1234;
    long result = 0;
    int expected = 1234;  // a call that does not fail leaves errno alone
    switch (which) {
      case 0:
        result = ::nanosleep(&limit, nullptr);
        break;
      case 1:
        result = ::poll(&waited, 1, 7);
        break;
      case 2: {
        epoll_event event;
        result = ::epoll_wait(epoll, &event, 1, 7);
        break;
      }
      case 3:
        result = ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &limit, nullptr, 0) + 1;
        expected = ETIMEDOUT;
        break;
      case 4:
        result = ::sigtimedwait(&blocked, nullptr, &limit) + 1;
        expected = EAGAIN;
        break;
    }
    if (result != 0 || errno != expected) say("ERROR sleeper %d: result %ld, errno %d", which, result, errno);
    ++cycles[which];
  }
}

// There are no children, by whatever question. `wall`: also those without an exit signal.
inline void waiter(bool wall) {
  for (;;) {
    int status = 0;
    const pid_t child = ::wait4(-1, &status, WNOHANG | (wall ? __WALL : 0), nullptr);
    if (child != -1 || errno != ECHILD) say("ERROR wait4 found a child: %d, errno %d", child, errno);
    const pid_t blocking = ::wait4(-1, &status, wall ? __WALL : 0, nullptr);
    if (blocking != -1 || errno != ECHILD) say("ERROR wait4 waited for a child: %d, errno %d", blocking, errno);
    ++cycles[5];
  }
}

// Blocked for ever in recv(2): nothing may end that.
inline void receiver() {
  int ends[2];
  char byte;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::_Exit(6);
  const ssize_t n = ::recv(ends[0], &byte, 1, 0);
  say("ERROR recv returned %zd, errno %d", n, errno);
}

struct Looks {
  char fds[4096], children[256], signals[1024];
  timespec left;
};

inline void append(char* text, size_t room, const char* more) {
  std::strncat(text, more, room - std::strlen(text) - 1);
}

inline void look_at_fds(Looks& looks) {
  DIR* directory = ::opendir("/proc/self/fd");
  std::vector<std::string> all;
  while (const dirent* entry = directory == nullptr ? nullptr : ::readdir(directory)) {
    char target[256] = {};
    const std::string path = std::string("/proc/self/fd/") + entry->d_name;
    if (::readlink(path.c_str(), target, sizeof target - 1) < 0 || std::strncmp(target, "/proc/", 6) == 0) continue;
    // A pipe of a new life is another one.
    if (char* inode = std::strchr(target, '['); inode != nullptr && std::strncmp(target, "anon", 4) != 0) *inode = '\0';
    all.push_back(std::string(entry->d_name) + "=" + target + " ");
  }
  if (directory != nullptr) ::closedir(directory);
  for (const std::string& one : all) append(looks.fds, sizeof looks.fds, one.c_str());
}

inline void look_at_file(const char* path, const char* prefix, char* out, size_t room) {
  char text[8192] = {};
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ::read(fd, text, sizeof text - 1) < 0) append(out, room, "unreadable");
  ::close(fd);
  char* rest = nullptr;
  for (char* line = ::strtok_r(text, "\n", &rest); line != nullptr; line = ::strtok_r(nullptr, "\n", &rest)) {
    if (std::strncmp(line, prefix, std::strlen(prefix)) != 0) continue;
    append(out, room, line);
    append(out, room, " ");
  }
}

inline Looks look(timer_t timer) {
  Looks looks = {};
  look_at_fds(looks);
  look_at_file("/proc/thread-self/children", "", looks.children, sizeof looks.children);
  // (SigQ counts the signals of all processes of the user.)
  for (const char* field : {"SigPnd", "SigBlk", "SigIgn", "SigCgt"}) {
    look_at_file("/proc/self/status", field, looks.signals, sizeof looks.signals);
  }
  look_at_file("/proc/self/status", "Threads", looks.signals, sizeof looks.signals);
  look_at_file("/proc/self/status", "ShdPnd", looks.signals, sizeof looks.signals);
  stack_t stack = {};
  ::sigaltstack(nullptr, &stack);
  char text[64];
  std::snprintf(text, sizeof text, "stack %p %zu %d", stack.ss_sp, stack.ss_size, stack.ss_flags);
  append(looks.signals, sizeof looks.signals, text);
  itimerspec spec = {};
  ::timer_gettime(timer, &spec);
  looks.left = spec.it_value;
  return looks;
}

class Onlooker {
 public:
  // `wall`: the waiting threads ask with __WALL.
  Onlooker(const char* report, bool wall) {
    memory::report_fd = ::open(report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    prepare_signals();
    if (const char* directory = ::getenv("REMOVED_DIRECTORY")) {  // a finding
      if (::mkdir(directory, 0777) != 0 || ::open(directory, O_RDONLY | O_CLOEXEC) < 0 || ::rmdir(directory) != 0) {
        std::_Exit(6);
      }
    }
    if (::getenv("SUBREAPER") != nullptr && ::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) std::_Exit(6);
    for (int which = 0; which < 5; ++which)
      start([](void* n) { sleepers(static_cast<int>(reinterpret_cast<intptr_t>(n))); }, which);
    start([](void* n) { waiter(n != nullptr); }, wall ? 1 : 0);
    start([](void*) { receiver(); }, 0);
    ::usleep(50000);
  }

  // One look, and a "tick" when every thread has moved on.
  void tick() {
    const Looks now = look(timer_);
    if (ticks_ == 2) first_ = now, layout_.remember();
    if (ticks_ > 2) {
      layout_.compare();
      compare("fds", first_.fds, now.fds);
      compare("children", first_.children, now.children);
      compare("signals", first_.signals, now.signals);
      if (now.left.tv_sec == 0 || now.left.tv_sec > first_.left.tv_sec)
        say("CHANGED timer: %ld s left", now.left.tv_sec);
    }
    if (child_signals != 0) say("CHANGED SIGCHLD: %d", child_signals.load());
    unsigned before[6];
    for (int i = 0; i < 6; ++i) before[i] = cycles[i];
    for (int i = 0; i < 6; ++i) {
      for (int patience = 0; cycles[i] == before[i]; ++patience) {
        if (patience == 10000) say("ERROR thread %d stands still", i);
        ::usleep(1000);
      }
    }
    say("tick %d", ++ticks_);
  }

 private:
  static void compare(const char* what, const char* was, const char* now) {
    if (std::strcmp(was, now) != 0) say("CHANGED %s: %.150s -> %.150s", what, was, now);
  }
  static void start(void (*function)(void*), intptr_t argument) {
    struct Order {
      void (*function)(void*);
      void* argument;
    };
    const auto run = [](void* order) -> void* {
      const Order mine = *static_cast<Order*>(order);
      delete static_cast<Order*>(order);
      mine.function(mine.argument);
      return nullptr;
    };
    pthread_t thread;
    if (::pthread_create(&thread, nullptr, run, new Order{function, reinterpret_cast<void*>(argument)}) != 0)
      std::_Exit(6);
  }
  void prepare_signals() {
    struct sigaction action = {};
    action.sa_handler = [](int) { ++child_signals; };
    ::sigaction(SIGCHLD, &action, nullptr);
    sigset_t mask;
    ::sigemptyset(&mask);
    for (const int number : {SIGRTMIN + 4, SIGRTMIN + 5, static_cast<int>(SIGUSR2)}) ::sigaddset(&mask, number);
    ::pthread_sigmask(SIG_BLOCK, &mask, nullptr);
    ::sigqueue(::getpid(), SIGRTMIN + 4, {3});  // pending for ever
    ::pthread_kill(::pthread_self(), SIGUSR2);
    static char memory[65536];
    stack_t stack = {};
    stack.ss_sp = memory;
    stack.ss_size = sizeof memory;
    ::sigaltstack(&stack, nullptr);
    sigevent event = {};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN + 6;
    const itimerspec spec = {{0, 0}, {5000, 0}};
    if (::timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0 || ::timer_settime(timer_, 0, &spec, nullptr) != 0)
      std::_Exit(6);
  }

  memory::Layout layout_;
  timer_t timer_ = {};
  Looks first_ = {};
  int ticks_ = 0;
};

}  // namespace onlooker

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_ONLOOKER_H_
