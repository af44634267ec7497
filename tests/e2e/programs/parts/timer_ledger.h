// One-shot timers of every kind, armed again as soon as they have expired, with books kept: each arming is to be
// followed by exactly one signal.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TIMER_LEDGER_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TIMER_LEDGER_H_

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/e2e/programs/parts/worker.h"

namespace ledger {

constexpr int kTimersPerKind = 24;
constexpr int kAlarm = 3 * kTimersPerKind;  // ITIMER_REAL comes last
constexpr int kEntries = kAlarm + 1;
constexpr int kPatience = 20000;  // looks at a timer, a millisecond apart

inline std::atomic<uint64_t> g_received[kEntries];

inline void on_expiry(int number, siginfo_t* info, void*) {
  const int entry = number == SIGALRM ? kAlarm : info->si_value.sival_int;
  if (entry >= 0 && entry < kEntries) ++g_received[entry];
}

struct Entry {
  timer_t timer = {};
  uint64_t armed = 0;
  int looks = 0;
};

// One thread arms; the process-wide signals go to a second, timers with SIGEV_THREAD_ID to a third and to the caller.
class TimerLedger {
 public:
  TimerLedger() {
    install_handler();
    std::atomic<pid_t> aimed_at{0};
    std::thread([&aimed_at] {
      block_other_signals(SIGRTMIN + 2);
      aimed_at = ::gettid();
      for (;;) ::pause();
    }).detach();
    std::thread([] {
      block_other_signals(SIGRTMIN + 1, SIGALRM);
      for (;;) ::pause();
    }).detach();
    block_other_signals(SIGRTMIN + 3);
    while (aimed_at == 0) ::usleep(1000);
    for (int i = 0; i < kAlarm; ++i) {
      const pid_t targets[] = {0, aimed_at, ::gettid()};
      create(i, SIGRTMIN + 1 + i / kTimersPerKind, targets[i / kTimersPerKind]);
    }
    std::thread([this] { keep(); }).detach();
  }

 private:
  static void install_handler() {
    struct sigaction action = {};
    action.sa_sigaction = &on_expiry;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    for (const int number : {int{SIGALRM}, SIGRTMIN + 1, SIGRTMIN + 2, SIGRTMIN + 3}) {
      if (::sigaction(number, &action, nullptr) != 0) std::exit(6);
    }
  }
  static void block_other_signals(int wanted, int wanted_too = 0) {
    sigset_t set;
    ::sigfillset(&set);
    if (wanted != 0) ::sigdelset(&set, wanted);
    if (wanted_too != 0) ::sigdelset(&set, wanted_too);
    ::pthread_sigmask(SIG_SETMASK, &set, nullptr);
  }

  void create(int i, int number, pid_t tid) {
    sigevent event = {};
    event.sigev_notify = tid == 0 ? SIGEV_SIGNAL : SIGEV_THREAD_ID;
    event.sigev_signo = number;
    event.sigev_value.sival_int = i;
    if (tid != 0) event._sigev_un._tid = tid;
    if (::timer_create(CLOCK_MONOTONIC, &event, &entries_[i].timer) != 0) std::exit(6);
  }

  bool armed_now(int i) {
    itimerspec posix = {};
    itimerval alarm = {};
    if ((i == kAlarm ? ::getitimer(ITIMER_REAL, &alarm) : ::timer_gettime(entries_[i].timer, &posix)) != 0)
      std::exit(6);
    return posix.it_value.tv_sec != 0 || posix.it_value.tv_nsec != 0 || alarm.it_value.tv_sec != 0 ||
           alarm.it_value.tv_usec != 0;
  }

  void arm(int i) {
    const int microseconds = std::uniform_int_distribution<int>(50, 4000)(random_);
    ++entries_[i].armed;
    entries_[i].looks = 0;
    const itimerspec posix = {{0, 0}, {0, microseconds * 1000}};
    const itimerval alarm = {{0, 0}, {0, microseconds}};
    if ((i == kAlarm ? ::setitimer(ITIMER_REAL, &alarm, nullptr)
                     : ::timer_settime(entries_[i].timer, 0, &posix, nullptr)) != 0) {
      std::exit(6);
    }
  }

  void look_at(int i) {
    Entry& entry = entries_[i];
    const uint64_t received = g_received[i];
    if (received > entry.armed) {
      blocked::Report::line("ERROR timer %d: %llu signals for %llu armings", i,
                            static_cast<unsigned long long>(received), static_cast<unsigned long long>(entry.armed));
    } else if (received == entry.armed) {
      if (armed_now(i)) blocked::Report::line("ERROR timer %d has sent its signal and is armed still", i);
      arm(i);
    } else if (++entry.looks > kPatience) {
      blocked::Report::line("ERROR timer %d: the signal of arming %llu is lost", i,
                            static_cast<unsigned long long>(entry.armed));
    } else if (!armed_now(i)) {
      // The signal is on its way, or never comes: soon told apart.
      entry.looks += kPatience / 150;
    }
  }

  void keep() {
    block_other_signals(0);
    for (uint64_t round = 0;; ++round) {
      for (int i = 0; i < kEntries; ++i) look_at(i);
      if (round % 64 == 63) blocked::Report::line("beat %llu", static_cast<unsigned long long>(round));
      ::usleep(1000);
    }
  }

  Entry entries_[kEntries];
  std::mt19937 random_{12345};
};

}  // namespace ledger

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TIMER_LEDGER_H_
