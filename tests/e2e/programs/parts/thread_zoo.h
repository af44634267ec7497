// 64 threads: in every blocking call, computing with AVX, making and joining threads. heartbeat() tells that all of
// them move.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_THREAD_ZOO_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_THREAD_ZOO_H_

#include <immintrin.h>

#include "tests/e2e/programs/parts/signal_workers.h"

namespace blocked {

// A recurrence in eight lanes, 2000 rounds long: every value stays in registers, and the result is known.
__attribute__((target("avx"))) inline void avx_rounds(double* lanes) {
  __m256d low = _mm256_set_pd(1.0, 1.5, 2.0, 2.5), high = _mm256_set_pd(3.0, 3.5, 4.0, 4.5);
  const __m256d factor = _mm256_set1_pd(0.9999), offset = _mm256_set1_pd(0.001);
  for (int i = 0; i < 200000; ++i) {
    low = _mm256_add_pd(_mm256_mul_pd(low, factor), offset);
    high = _mm256_add_pd(_mm256_mul_pd(high, factor), _mm256_mul_pd(low, offset));
    asm volatile("" : "+x"(low), "+x"(high));
  }
  _mm256_storeu_pd(lanes, low);
  _mm256_storeu_pd(lanes + 4, high);
}

inline void sse_rounds(double* lanes) {
  for (int lane = 0; lane < 8; ++lane) {
    double value = 1.0 + lane;
    for (int i = 0; i < 20000; ++i) value = value * 0.9999 + 0.001;
    lanes[lane] = value;
  }
}

inline Step arithmetic_step() {
  const bool avx = __builtin_cpu_supports("avx");
  std::vector<double> expected(8);
  (avx ? avx_rounds : sse_rounds)(expected.data());
  return [avx, expected](Worker& worker) {
    double lanes[8];
    (avx ? avx_rounds : sse_rounds)(lanes);
    for (size_t i = 0; i < 8; ++i) {
      if (std::memcmp(&lanes[i], &expected[i], sizeof(double)) != 0)
        worker.error("lane %zu is %a, not %a", i, lanes[i], expected[i]);
    }
    ::usleep(20000);
  };
}

// Makes a thread that dies holding a robust mutex, joins it, and finds the mutex as its owner left it.
inline Step join_step() {
  struct Shared {
    pthread_mutex_t mutex;
    std::atomic<uint64_t> number{0};
  };
  auto shared = std::make_shared<Shared>();
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  ::pthread_mutex_init(&shared->mutex, &attributes);
  return [shared](Worker& worker) {
    pthread_t thread = {};
    ++shared->number;
    const auto life = [](void* argument) -> void* {
      Shared& its = *static_cast<Shared*>(argument);
      ::pthread_mutex_lock(&its.mutex);
      const timespec nap = to_timespec(4 * kNap);
      if (::nanosleep(&nap, nullptr) != 0) return nullptr;
      return reinterpret_cast<void*>(its.number.load() * 3);
    };
    if (::pthread_create(&thread, nullptr, life, shared.get()) != 0) return worker.error("pthread_create");
    void* result = nullptr;
    const int error = ::pthread_join(thread, &result);
    if (error != 0 || result != reinterpret_cast<void*>(shared->number.load() * 3)) {
      worker.error("join: error %d, result %p", error, result);
    }
    const int locked = ::pthread_mutex_lock(&shared->mutex);
    if (locked != EOWNERDEAD) worker.error("robust mutex: %d instead of EOWNERDEAD", locked);
    if (locked == EOWNERDEAD) ::pthread_mutex_consistent(&shared->mutex);
    ::pthread_mutex_unlock(&shared->mutex);
  };
}

class ThreadZoo {
 public:
  static constexpr size_t kThreads = 64;

  ThreadZoo() {
    install_handlers();
    sigset_t all;
    ::sigfillset(&all);
    for (const int ending : {SIGTERM, SIGINT}) ::sigdelset(&all, ending);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);  // inherited: what is not asked for stays blocked
    fill();
    while (workers_.size() < kThreads - 1) add("arithmetic", arithmetic_step());
    add("feeder", [this](Worker&) {
      for (const std::function<void()>& feed : feeders_) feed();
      ::usleep(3000);
    });
    for (const std::unique_ptr<Worker>& worker : workers_) worker->start();
    arm_process_timers();
  }

  // Waits until every thread has made `steps` steps more, then writes a line.
  void heartbeat(uint64_t steps = 2) {
    std::vector<uint64_t> goals;
    for (const auto& worker : workers_) goals.push_back(worker->steps() + steps);
    const uint64_t alarm_goal = alarms + 1, timer_goal = timer_signals + 1;
    for (size_t i = 0; i < workers_.size(); ++i) {
      for (int round = 0; workers_[i]->steps() < goals[i]; ++round) {
        ::usleep(5000);
        if (round == 4000)
          Report::line("ERROR %s stands still at step %llu", workers_[i]->name().c_str(),
                       static_cast<unsigned long long>(goals[i]));
      }
    }
    while (alarms < alarm_goal || timer_signals < timer_goal) ::usleep(5000);
    Report::line("beat %llu of %zu threads", static_cast<unsigned long long>(++beats_), workers_.size());
  }

 private:
  Worker& add(const char* name, Step step) {
    workers_.push_back(
        std::make_unique<Worker>(std::string(name) + "-" + std::to_string(workers_.size()), std::move(step)));
    return *workers_.back();
  }

  void fill() {
    for (int twice = 0; twice < 2; ++twice) {
      add("nanosleep", nanosleep_step(twice != 0));
      add("clocknap", clock_nanosleep_step(CLOCK_MONOTONIC, false));
      add("clockabs", clock_nanosleep_step(CLOCK_MONOTONIC, true));
      add("realabs", clock_nanosleep_step(CLOCK_REALTIME, true));
      add("futexrel", futex_timeout_step(false));
      add("futexabs", futex_timeout_step(true));
      add("futexwake", futex_wake_step(feeders_));
      add("read", pipe_step(feeders_, Wait::kRead));
      add("poll", pipe_step(feeders_, Wait::kPoll));
      add("polltime", pipe_step(feeders_, Wait::kPollTimeout));
      add("ppoll", pipe_step(feeders_, Wait::kPpoll));
      add("epoll", pipe_step(feeders_, Wait::kEpoll));
      add("epolltime", eventfd_step(feeders_, Wait::kEpollTimeout));
      add("eventread", eventfd_step(feeders_, Wait::kRead));
      add("sem", semaphore_step(feeders_, false));
      add("semtime", semaphore_step(feeders_, true));
      add("cond", condition_step(feeders_, false));
      add("condtime", condition_step(feeders_, true));
      add("sigwait", signal_step(feeders_, SignalWait::kSigwait, SIGRTMIN + 3));
      add("siginfo", signal_step(feeders_, SignalWait::kSigwaitinfo, SIGRTMIN + 4));
      add("sigtime", signal_step(feeders_, SignalWait::kSigtimedwait, SIGRTMIN + 5));
      add("pending", pending_step(SIGRTMIN + 6, SIGRTMIN + 7 + twice));
      add("timer", thread_timer_step(SIGRTMIN + 9));
      add("join", join_step());
    }
    add("pause", pause_step(feeders_)).unblock(SIGUSR1);
    Worker& handler = add("handler", timer_handler_step());
    handler.unblock(SIGALRM);
    handler.unblock(SIGRTMIN);
  }

  Feeders feeders_;
  std::vector<std::unique_ptr<Worker>> workers_;
  uint64_t beats_ = 0;
};

}  // namespace blocked

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_THREAD_ZOO_H_
