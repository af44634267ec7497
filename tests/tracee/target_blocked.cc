// Threads in every blocking call, in registers, and in signal handlers.
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "target.h"

extern "C" int check_registers_avx(const void* values, long spins);
extern "C" int check_registers_sse(const void* values, long spins);

namespace {

constexpr long kShortMs = 15;  // of calls that time out and are made again

int idle_pipe[2];  // nothing is written to it before the end
int idle_epoll = -1;
int idle_sockets[2];  // with SO_RCVTIMEO
int listener = -1;    // with SO_RCVTIMEO
int semaphores = -1;
int queue = -1;
std::mutex condition_mutex;
std::condition_variable condition;
std::atomic<long> rounds{0};
std::atomic<long> handled{0}, waited_for{0};
std::atomic<pthread_t> signal_waiters[3];  // threads that the end must wake by a signal

int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// With a helper that is killed while it interrupts threads, nobody can put these right: they return EINTR, as they do
// after SIGSTOP and SIGCONT. Allowed with the argument "helper-dies" only. A futex wait that was continued by
// restart_syscall(2) before is among them: its own number can no longer be seen.
bool helper_dies = false;
bool may_be_interrupted(const std::string& name) {
  return helper_dies && errno == EINTR &&
         (name.starts_with("epoll") || name.starts_with("sem") || name.starts_with("sigtimedwait") ||
          name.starts_with("futex with timeout") || name == "sigwaitinfo" || name.ends_with("SO_RCVTIMEO"));
}

timespec short_time() { return {0, kShortMs * 1'000'000L}; }

// A call that must time out, no earlier than it should, with `expected` (0, or -errno).
void timed(const char* name, long expected, const std::function<long()>& call) {
  while (!stopping) {
    const int64_t before = now_ns();
    errno = 0;
    const long result = call();
    if (result < 0 && may_be_interrupted(name)) continue;
    const long outcome = result >= 0 ? result : -errno;
    if (outcome != expected && !stopping) fail(std::string(name) + " returned " + std::to_string(outcome));
    // Some calls count in ticks; one tick of 10 ms may be gone when they begin.
    if (now_ns() - before < (kShortMs - 11) * 1'000'000 && !stopping) fail(std::string(name) + " returned too early");
    ++rounds;
  }
}

// A call that must not return before the end.
void endless(const char* name, const std::function<long()>& call) {
  long result;
  do {
    errno = 0;
    result = call();
  } while (result < 0 && !stopping && may_be_interrupted(name));
  if (!stopping) fail(std::string(name) + " returned " + std::to_string(result));
}

long raw_futex(int* word, int operation, int value, const timespec* timeout) {
  return ::syscall(SYS_futex, word, operation, value, timeout, nullptr, FUTEX_BITSET_MATCH_ANY);
}

int* stop_futex() { return reinterpret_cast<int*>(&stop_word); }

void futex_wait() {
  endless("futex", [] { return raw_futex(stop_futex(), FUTEX_WAIT, 0, nullptr); });
}
void futex_timed() {
  static int word = 0;
  timed("futex with timeout", -ETIMEDOUT, [] {
    const timespec timeout = short_time();
    return raw_futex(&word, FUTEX_WAIT_PRIVATE, 0, &timeout);
  });
}
void poll_endless() {
  endless("poll", [] {
    pollfd entry = {idle_pipe[0], POLLIN, 0};
    return ::poll(&entry, 1, -1);
  });
}
void poll_timed() {
  timed("poll with timeout", 0, [] {
    pollfd entry = {idle_pipe[0], POLLIN, 0};
    return ::poll(&entry, 1, kShortMs);
  });
}
void ppoll_timed() {
  timed("ppoll with timeout", 0, [] {
    pollfd entry = {idle_pipe[0], POLLIN, 0};
    const timespec timeout = short_time();
    sigset_t mask;
    sigfillset(&mask);
    return ::ppoll(&entry, 1, &timeout, &mask);
  });
}
void select_timed() {
  timed("select with timeout", 0, [] {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(idle_pipe[0], &set);
    timeval timeout = {0, kShortMs * 1000};
    return ::select(idle_pipe[0] + 1, &set, nullptr, nullptr, &timeout);
  });
}
void epoll_endless() {
  endless("epoll_wait", [] {
    epoll_event event;
    return ::epoll_wait(idle_epoll, &event, 1, -1);
  });
}
void epoll_timed() {
  timed("epoll_wait with timeout", 0, [] {
    epoll_event event;
    return ::epoll_wait(idle_epoll, &event, 1, kShortMs);
  });
}
void epoll_pwait_endless() {
  endless("epoll_pwait", [] {
    epoll_event event;
    sigset_t mask;
    sigfillset(&mask);
    return ::epoll_pwait(idle_epoll, &event, 1, -1, &mask);
  });
}
void nanosleep_timed() {
  timed("nanosleep", 0, [] {
    const timespec time = short_time();
    timespec remaining{};
    return ::nanosleep(&time, &remaining);
  });
}
void clock_nanosleep_absolute() {
  timed("clock_nanosleep(TIMER_ABSTIME)", 0, [] {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += kShortMs * 1'000'000L;
    if (time.tv_nsec >= 1'000'000'000L) {
      time.tv_nsec -= 1'000'000'000L;
      ++time.tv_sec;
    }
    return -::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr);
  });
}
void read_pipe() {
  endless("read of a pipe", [] {
    char byte;
    return ::read(idle_pipe[0], &byte, 1);
  });
}
void condition_wait() {
  std::unique_lock<std::mutex> lock(condition_mutex);
  condition.wait(lock, [] { return stopping.load(); });
}
void condition_timed() {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
  timed("pthread_cond_timedwait", ETIMEDOUT, [] {
    timespec time{};
    ::clock_gettime(CLOCK_REALTIME, &time);
    time.tv_nsec += kShortMs * 1'000'000L;
    if (time.tv_nsec >= 1'000'000'000L) {
      time.tv_nsec -= 1'000'000'000L;
      ++time.tv_sec;
    }
    pthread_mutex_lock(&mutex);
    const long result = pthread_cond_timedwait(&never, &mutex, &time);
    pthread_mutex_unlock(&mutex);
    return result;
  });
}
void sigtimedwait_timed() {
  timed("sigtimedwait", -EAGAIN, [] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    const timespec time = short_time();
    return ::sigtimedwait(&set, nullptr, &time);
  });
}
void semop_endless() {
  endless("semop", [] {
    sembuf operation = {0, -1, 0};
    return ::semop(semaphores, &operation, 1);
  });
}
void semtimedop_timed() {
  timed("semtimedop", -EAGAIN, [] {
    sembuf operation = {1, -1, 0};
    const timespec time = short_time();
    return ::semtimedop(semaphores, &operation, 1, &time);
  });
}
void sem_wait_timed() {
  static sem_t semaphore;
  ::sem_init(&semaphore, 0, 0);
  timed("sem_clockwait", -ETIMEDOUT, [] {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    ++time.tv_sec;
    time.tv_nsec = 0;
    return ::sem_clockwait(&semaphore, CLOCK_MONOTONIC, &time);
  });
}
void receive_timed() {
  timed("recv with SO_RCVTIMEO", -EAGAIN, [] {
    char byte;
    return ::recv(idle_sockets[0], &byte, 1, 0);
  });
}
void accept_timed() {
  timed("accept with SO_RCVTIMEO", -EAGAIN, [] { return ::accept(listener, nullptr, nullptr); });
}
void msgrcv_endless() {
  endless("msgrcv", [] {
    struct {
      long type;
      char text[8];
    } message;
    return ::msgrcv(queue, &message, sizeof message.text, 1, 0);
  });
}

void unblock(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void pause_endless() {
  signal_waiters[0] = pthread_self();
  unblock(SIGUSR2);
  endless("pause", [] { return ::pause(); });
}
void sigsuspend_endless() {
  signal_waiters[1] = pthread_self();
  sigset_t mask;
  sigfillset(&mask);
  sigdelset(&mask, SIGUSR2);
  endless("sigsuspend", [&] { return ::sigsuspend(&mask); });
}

void compute() {
  alignas(32) uint64_t values[64];
  for (int i = 0; i < 64; ++i) values[i] = 0x9e3779b97f4a7c15ull * static_cast<uint64_t>(i + 1) + ::gettid();
  const bool avx = __builtin_cpu_supports("avx");
  while (!stopping) {
    const int wrong = avx ? check_registers_avx(values, 200000) : check_registers_sse(values, 200000);
    if (wrong != 0) fail(std::to_string(wrong) + " registers changed");
    ++rounds;
    const timespec rest = {0, 2'000'000};
    ::nanosleep(&rest, nullptr);
  }
}

// SIGRTMIN runs a handler, SIGRTMIN+1 is waited for. Their values must arrive in order, none missing, none twice.
void on_signal(int, siginfo_t* info, void*) {
  if (info->si_code != SI_QUEUE) fail("si_code of a handled signal");
  if (info->si_value.sival_int != handled) fail("value of a handled signal");
  ++handled;
}
void take_by_handler() {
  signal_waiters[2] = pthread_self();
  unblock(SIGRTMIN);
  compute();
}
void take_by_waiting() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 1);
  while (!stopping) {
    siginfo_t info{};
    if (::sigwaitinfo(&set, &info) < 0) {
      if (!may_be_interrupted("sigwaitinfo")) fail("sigwaitinfo");
      continue;
    }
    if (stopping) return;
    if (info.si_code != SI_QUEUE || info.si_value.sival_int != waited_for) fail("a signal waited for");
    ++waited_for;
  }
}

constexpr void (*kOnce[])() = {pause_endless, sigsuspend_endless, take_by_handler, take_by_waiting};
constexpr void (*kMany[])() = {futex_wait,
                               futex_timed,
                               poll_endless,
                               poll_timed,
                               ppoll_timed,
                               select_timed,
                               epoll_endless,
                               epoll_timed,
                               nanosleep_timed,
                               read_pipe,
                               condition_wait,
                               condition_timed,
                               compute,
                               semop_endless,
                               receive_timed,
                               semtimedop_timed,
                               accept_timed,
                               clock_nanosleep_absolute,
                               sigtimedwait_timed,
                               sem_wait_timed,
                               msgrcv_endless,
                               epoll_pwait_endless};

bool prepare() {
  if (::pipe(idle_pipe) != 0 || ::socketpair(AF_UNIX, SOCK_STREAM, 0, idle_sockets) != 0) return false;
  idle_epoll = ::epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN;
  if (::epoll_ctl(idle_epoll, EPOLL_CTL_ADD, idle_pipe[0], &event) != 0) return false;
  const timeval timeout = {0, kShortMs * 1000};
  listener = ::socket(AF_INET, SOCK_STREAM, 0);
  if (listener < 0 || ::listen(listener, 1) != 0) return false;
  if (::setsockopt(idle_sockets[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0) return false;
  if (::setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0) return false;
  semaphores = ::semget(IPC_PRIVATE, 2, 0600);
  queue = ::msgget(IPC_PRIVATE, 0600);
  if (semaphores < 0 || queue < 0) return false;

  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGRTMIN, &action, nullptr);
  action.sa_sigaction = [](int, siginfo_t*, void*) {};
  sigaction(SIGUSR2, &action, nullptr);
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  return true;
}

void wake_everybody() {
  {
    const std::lock_guard<std::mutex> lock(condition_mutex);
    condition.notify_all();
  }
  raw_futex(stop_futex(), FUTEX_WAKE, 1 << 20, nullptr);
  ::semctl(semaphores, 0, IPC_RMID);
  ::msgctl(queue, IPC_RMID, nullptr);
  const char bytes[256] = {};
  if (::write(idle_pipe[1], bytes, sizeof bytes) < 0) fail("write to the pipe");
  pthread_kill(signal_waiters[0], SIGUSR2);
  pthread_kill(signal_waiters[1], SIGUSR2);
  ::kill(::getpid(), SIGRTMIN + 1);
}

}  // namespace

int run_blocked(int count, bool with_dying_helper) {
  helper_dies = with_dying_helper;
  if (!prepare()) {
    fail("preparation");
    return 1;
  }
  std::vector<std::thread> threads;
  for (auto* once : kOnce) threads.emplace_back(once);
  for (size_t i = 0; threads.size() < static_cast<size_t>(count); ++i) {
    threads.emplace_back(kMany[i % (sizeof kMany / sizeof *kMany)]);
  }
  for (auto& waiter : signal_waiters) {
    while (waiter.load() == 0) std::this_thread::yield();
  }
  announce_ready();
  wait_for_command();
  wake_everybody();
  for (std::thread& thread : threads) thread.join();
  std::printf("ok rounds %ld handled %ld waited %ld\n", rounds.load(), handled.load(), waited_for.load());
  return failed() ? 1 : 0;
}
