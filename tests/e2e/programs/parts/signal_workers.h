// Threads that live on signals: waited for, queued with values, pending while blocked, from timers.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_SIGNAL_WORKERS_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_SIGNAL_WORKERS_H_

#include <sys/time.h>

#include "tests/e2e/programs/parts/blocking_calls.h"

namespace blocked {

enum class SignalWait { kSigwait, kSigwaitinfo, kSigtimedwait };

inline int wait_for_signal(SignalWait how, const sigset_t& set, siginfo_t& info) {
  if (how == SignalWait::kSigwaitinfo) return ::sigwaitinfo(&set, &info);
  if (how == SignalWait::kSigwait) {
    int number = 0;
    const int error = ::sigwait(&set, &number);
    errno = error;
    return error == 0 ? number : -1;
  }
  const timespec nap = to_timespec(kNap);
  for (;;) {
    const int number = ::sigtimedwait(&set, &info, &nap);
    if (number >= 0 || errno != EAGAIN) return number;
  }
}

inline sigset_t only(int number) {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, number);
  return set;
}

// `signal_number` is sent to the thread with a running number as its value.
inline Step signal_step(Feeders& feeders, SignalWait how, int signal_number) {
  struct Shared : Flow {
    std::atomic<Worker*> worker{nullptr};
  };
  auto shared = std::make_shared<Shared>();
  feeders.push_back([shared, signal_number] {
    Worker* worker = shared->worker;
    if (worker == nullptr || !shared->wanted()) return;
    const sigval value = {static_cast<int>(shared->given & 0x7fffffff)};
    if (::pthread_sigqueue(worker->thread(), signal_number, value) == 0) ++shared->given;
  });
  return [shared, how, signal_number](Worker& worker) {
    shared->worker = &worker;
    siginfo_t info = {};
    const int number = wait_for_signal(how, only(signal_number), info);
    if (number != signal_number) worker.error("signal %d instead of %d, errno %d", number, signal_number, errno);
    const int wanted = static_cast<int>(shared->taken++ & 0x7fffffff);
    if (how != SignalWait::kSigwait &&
        (info.si_value.sival_int != wanted || info.si_code != SI_QUEUE || info.si_pid != ::getpid())) {
      worker.error("signal value %d instead of %d, code %d, pid %d", info.si_value.sival_int, wanted, info.si_code,
                   info.si_pid);
    }
  };
}

// Signals of one number wait, blocked, while the thread sleeps: to the thread and to the process, with their values.
inline Step pending_step(int thread_signal, int process_signal) {
  return [=](Worker& worker) {
    constexpr int kSignals = 6;
    const int base = static_cast<int>(worker.steps() % 100000) * 100;
    for (int i = 0; i < kSignals; ++i) {
      ::pthread_sigqueue(::pthread_self(), thread_signal, {base + i});
      ::sigqueue(::getpid(), process_signal, {base + 50 + i});
    }
    const timespec nap = to_timespec(4 * kNap);
    if (::nanosleep(&nap, nullptr) != 0) worker.error("nanosleep: errno %d", errno);
    for (const auto& [number, first] : {std::pair{thread_signal, base}, std::pair{process_signal, base + 50}}) {
      const timespec at_once = {};
      const sigset_t set = only(number);
      for (int i = 0; i < kSignals; ++i) {
        siginfo_t info = {};
        if (::sigtimedwait(&set, &info, &at_once) != number) worker.error("signal %d no %d is lost", number, i);
        if (info.si_value.sival_int != first + i || info.si_code != SI_QUEUE) {
          worker.error("signal %d no %d has value %d instead of %d, code %d", number, i, info.si_value.sival_int,
                       first + i, info.si_code);
        }
      }
      siginfo_t info = {};
      if (::sigtimedwait(&set, &info, &at_once) >= 0) worker.error("signal %d came once more than it was sent", number);
    }
  };
}

// What the handlers count; each runs on its thread's alternate stack.
inline std::atomic<uint64_t> pauses{0}, alarms{0}, timer_signals{0}, wrong_stacks{0}, wrong_values{0};
constexpr int kTimerValue = 0x5eed;

inline void on_signal(int number, siginfo_t* info, void*) {
  stack_t stack = {};
  const int saved = errno;
  if (::sigaltstack(nullptr, &stack) != 0 || (stack.ss_flags & SS_ONSTACK) == 0) ++wrong_stacks;
  errno = saved;
  if (number == SIGUSR1) ++pauses;
  if (number == SIGALRM) ++alarms;
  if (number == SIGRTMIN) {
    ++timer_signals;
    if (info->si_value.sival_int != kTimerValue || info->si_code != SI_TIMER) ++wrong_values;
  }
}

inline void install_handlers() {
  struct sigaction action = {};
  action.sa_sigaction = &on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (const int number : {SIGUSR1, SIGALRM, static_cast<int>(SIGRTMIN)}) {
    if (::sigaction(number, &action, nullptr) != 0) std::exit(6);
  }
}

// pause(2) until the handler has run. SIGUSR1 goes to this thread alone.
inline Step pause_step(Feeders& feeders) {
  struct Shared : Flow {
    std::atomic<Worker*> worker{nullptr};
  };
  auto shared = std::make_shared<Shared>();
  feeders.push_back([shared] {
    Worker* worker = shared->worker;
    // Again and again: the signal may come just before pause() is entered.
    if (worker != nullptr) ::pthread_kill(worker->thread(), SIGUSR1);
  });
  return [shared](Worker& worker) {
    shared->worker = &worker;
    const uint64_t before = pauses;
    if (::pause() != -1 || errno != EINTR) worker.error("pause: errno %d", errno);
    if (pauses == before) worker.error("pause returned without a signal");
    if (wrong_stacks.exchange(0) != 0) worker.error("a handler did not run on the alternate stack");
  };
}

// The one thread that takes what timers send to the process; EINTR only after a handler has run.
inline Step timer_handler_step() {
  return [](Worker& worker) {
    const uint64_t before = alarms + timer_signals;
    const timespec nap = to_timespec(4 * kNap);
    if (::nanosleep(&nap, nullptr) != 0 && (errno != EINTR || alarms + timer_signals == before)) {
      worker.error("nanosleep: errno %d without a signal", errno);
    }
    if (wrong_values.exchange(0) != 0) worker.error("a timer signal had another value");
  };
}

inline void make_timer(sigevent event, int64_t interval) {
  timer_t timer = {};
  const itimerspec spec = {to_timespec(interval), to_timespec(interval)};
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || ::timer_settime(timer, 0, &spec, nullptr) != 0)
    std::exit(6);
}

inline void arm_process_timers() {
  const itimerval alarm = {{0, 20000}, {0, 20000}};
  if (::setitimer(ITIMER_REAL, &alarm, nullptr) != 0) std::exit(6);
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  event.sigev_value.sival_int = kTimerValue;
  make_timer(event, 25'000'000);
}

// A timer of the thread's own, made at its first step, whose signal it waits for.
inline Step thread_timer_step(int signal_number) {
  return [signal_number, armed = false](Worker& worker) mutable {
    if (!armed) {
      sigevent event = {};
      event.sigev_notify = SIGEV_THREAD_ID;
      event.sigev_signo = signal_number;
      event.sigev_value.sival_int = kTimerValue;
      event._sigev_un._tid = worker.tid();
      make_timer(event, 20'000'000);
      armed = true;
    }
    siginfo_t info = {};
    const sigset_t set = only(signal_number);
    if (::sigwaitinfo(&set, &info) != signal_number) worker.error("sigwaitinfo: errno %d", errno);
    if (info.si_value.sival_int != kTimerValue || info.si_code != SI_TIMER) {
      worker.error("timer signal with value %d, code %d", info.si_value.sival_int, info.si_code);
    }
  };
}

}  // namespace blocked

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_SIGNAL_WORKERS_H_
