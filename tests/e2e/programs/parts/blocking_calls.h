// One maker per blocking call: a step of the worker blocks once, and EINTR, a wrong value or an early return is an
// error.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_BLOCKING_CALLS_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_BLOCKING_CALLS_H_

#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "tests/e2e/programs/parts/worker.h"

namespace blocked {

// Called again and again by the feeder thread.
using Feeders = std::vector<std::function<void()>>;
using Step = std::function<void(Worker&)>;

inline int64_t now_ns(clockid_t clock) {
  timespec now = {};
  ::clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

inline timespec to_timespec(int64_t ns) { return {ns / 1'000'000'000, ns % 1'000'000'000}; }

inline timespec from_now(clockid_t clock, int64_t ns) { return to_timespec(now_ns(clock) + ns); }

constexpr int64_t kNap = 15'000'000;

// Sleeps through `sleep`, which returns an errno, and checks that not less time than wanted has passed.
inline Step sleeper(clockid_t clock, std::function<int()> sleep) {
  return [clock, sleep](Worker& worker) {
    const int64_t begin = now_ns(clock);
    const int error = sleep();
    const int64_t passed = now_ns(clock) - begin;
    if (error != 0) worker.error("errno %d after %lld ns", error, static_cast<long long>(passed));
    if (passed < kNap) worker.error("slept %lld ns only", static_cast<long long>(passed));
  };
}

inline Step nanosleep_step(bool with_rest) {
  return sleeper(CLOCK_MONOTONIC, [with_rest] {
    const timespec nap = to_timespec(kNap);
    timespec rest = {};
    return ::nanosleep(&nap, with_rest ? &rest : nullptr) == 0 ? 0 : errno;
  });
}

inline Step clock_nanosleep_step(clockid_t clock, bool absolute) {
  return sleeper(clock, [clock, absolute] {
    const timespec when = absolute ? from_now(clock, kNap) : to_timespec(kNap);
    timespec rest = {};
    return ::clock_nanosleep(clock, absolute ? TIMER_ABSTIME : 0, &when, absolute ? nullptr : &rest);
  });
}

inline Step futex_timeout_step(bool absolute) {
  auto word = std::make_shared<uint32_t>(7);
  return sleeper(CLOCK_MONOTONIC, [word, absolute] {
    const timespec when = absolute ? from_now(CLOCK_MONOTONIC, kNap) : to_timespec(kNap);
    const int operation = (absolute ? FUTEX_WAIT_BITSET : FUTEX_WAIT) | FUTEX_PRIVATE_FLAG;
    const long result = ::syscall(SYS_futex, word.get(), operation, 7, &when, nullptr, FUTEX_BITSET_MATCH_ANY);
    return result == -1 && errno == ETIMEDOUT ? 0 : result == 0 ? -1 : errno;
  });
}

inline Step futex_wake_step(Feeders& feeders) {
  auto word = std::make_shared<std::atomic<uint32_t>>(0);
  auto flow = std::make_shared<Flow>();
  feeders.push_back([word, flow] {
    if (!flow->wanted()) return;
    ++flow->given;
    ++*word;
    ::syscall(SYS_futex, word.get(), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, 0);
  });
  return [word, flow, seen = 0u](Worker& worker) mutable {
    while (word->load() == seen) {
      if (::syscall(SYS_futex, word.get(), FUTEX_WAIT | FUTEX_PRIVATE_FLAG, seen, nullptr, nullptr, 0) != 0 &&
          errno != EAGAIN) {
        worker.error("futex: errno %d", errno);
      }
    }
    ++seen;
    ++flow->taken;
  };
}

enum class Wait { kRead, kPoll, kPpoll, kPollTimeout, kEpoll, kEpollTimeout };

// Returns when fd is readable, in one of many ways.
inline void wait_readable(Worker& worker, Wait how, int fd, int epoll) {
  pollfd entry = {fd, POLLIN, 0};
  const timespec nap = to_timespec(kNap);
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  for (;;) {
    epoll_event event = {};
    int ready = 1;
    if (how == Wait::kPoll) ready = ::poll(&entry, 1, -1);
    if (how == Wait::kPollTimeout) ready = ::poll(&entry, 1, static_cast<int>(kNap / 1'000'000));
    if (how == Wait::kPpoll) ready = ::ppoll(&entry, 1, &nap, &mask);
    if (how == Wait::kEpoll) ready = ::epoll_wait(epoll, &event, 1, -1);
    if (how == Wait::kEpollTimeout) ready = ::epoll_pwait(epoll, &event, 1, static_cast<int>(kNap / 1'000'000), &mask);
    if (ready > 0) return;
    if (ready < 0) worker.error("wait %d: errno %d", static_cast<int>(how), errno);
    const bool forever = how == Wait::kPoll || how == Wait::kEpoll;
    if (ready == 0 && forever) worker.error("wait %d without a timeout returned 0", static_cast<int>(how));
  }
}

inline int epoll_of(int fd) {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = 0x1122334455667788;
  if (epoll < 0 || ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) std::exit(6);
  return epoll;
}

inline Step pipe_step(Feeders& feeders, Wait how) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) std::exit(6);
  const int reader = ends[0], writer = ends[1], epoll = epoll_of(ends[0]);
  auto flow = std::make_shared<Flow>();
  feeders.push_back([flow, writer] {
    if (!flow->wanted()) return;
    const uint64_t number = flow->given++;
    if (::write(writer, &number, sizeof number) != sizeof number) std::_Exit(7);
  });
  return [=](Worker& worker) {
    wait_readable(worker, how, reader, epoll);
    uint64_t number = 0;
    const ssize_t n = ::read(reader, &number, sizeof number);
    if (n != sizeof number) worker.error("read is %zd, errno %d", n, errno);
    const uint64_t wanted = flow->taken++;
    if (number != wanted) {
      worker.error("read %llu, not %llu", static_cast<unsigned long long>(number),
                   static_cast<unsigned long long>(wanted));
    }
  };
}

inline Step eventfd_step(Feeders& feeders, Wait how) {
  const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
  const int epoll = epoll_of(fd);
  auto flow = std::make_shared<Flow>();
  feeders.push_back([flow, fd] {
    if (!flow->wanted()) return;
    ++flow->given;
    if (::eventfd_write(fd, 1) != 0) std::_Exit(7);
  });
  return [=](Worker& worker) {
    wait_readable(worker, how, fd, epoll);
    eventfd_t value = 0;
    if (::eventfd_read(fd, &value) != 0 || value != 1) worker.error("eventfd: value %d, errno %d", int(value), errno);
    if (++flow->taken > flow->given) worker.error("the eventfd gave more than it had");
  };
}

inline Step semaphore_step(Feeders& feeders, bool timed) {
  struct Shared : Flow {
    sem_t semaphore;
  };
  auto shared = std::make_shared<Shared>();
  ::sem_init(&shared->semaphore, 0, 0);
  feeders.push_back([shared] {
    if (!shared->wanted()) return;
    ++shared->given;
    ::sem_post(&shared->semaphore);
  });
  return [shared, timed](Worker& worker) {
    for (;;) {
      const timespec when = from_now(CLOCK_REALTIME, kNap);
      if ((timed ? ::sem_timedwait(&shared->semaphore, &when) : ::sem_wait(&shared->semaphore)) == 0) break;
      if (!timed || errno != ETIMEDOUT) worker.error("semaphore: errno %d", errno);
    }
    if (++shared->taken > shared->given) worker.error("the semaphore gave more than it had");
  };
}

inline Step condition_step(Feeders& feeders, bool timed) {
  struct Shared : Flow {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  };
  auto shared = std::make_shared<Shared>();
  feeders.push_back([shared] {
    if (!shared->wanted()) return;
    ::pthread_mutex_lock(&shared->mutex);
    ++shared->given;
    ::pthread_mutex_unlock(&shared->mutex);
    ::pthread_cond_signal(&shared->condition);
  });
  return [shared, timed](Worker& worker) {
    ::pthread_mutex_lock(&shared->mutex);
    while (shared->given == shared->taken) {
      const timespec when = from_now(CLOCK_REALTIME, kNap);
      const int error = timed ? ::pthread_cond_timedwait(&shared->condition, &shared->mutex, &when)
                              : ::pthread_cond_wait(&shared->condition, &shared->mutex);
      if (error != 0 && !(timed && error == ETIMEDOUT)) worker.error("condition variable: error %d", error);
    }
    ++shared->taken;
    ::pthread_mutex_unlock(&shared->mutex);
  };
}

}  // namespace blocked

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_BLOCKING_CALLS_H_
