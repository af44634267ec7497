// The deterministic work of the ticker programs: two threads, a buffer that depends on everything computed so far,
// integer and floating-point registers. The tests compute the same to know what a program must have printed.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_TICKER_WORK_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_TICKER_WORK_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace stillpoint::e2e {

class TickerWork {
 public:
  TickerWork() : words_(kWords), worker_([this] { work(); }) {}
  TickerWork(const TickerWork&) = delete;
  TickerWork& operator=(const TickerWork&) = delete;
  ~TickerWork() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }

  // One more tick; the hash of all that was computed. The other thread does one half and waits in a futex otherwise.
  uint64_t tick() {
    {
      const std::lock_guard lock(mutex_);
      ++wanted_;
    }
    changed_.notify_all();
    mix(0, kWords / 2, wanted_);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_ == wanted_; });
    real_ = real_ * 1.000001 + static_cast<double>(words_[wanted_ % kWords] >> 40) * 1e-7;
    uint64_t hash = 14695981039346656037u;
    for (const uint64_t word : words_) hash = (hash ^ word) * 1099511628211u;
    uint64_t bits;
    static_assert(sizeof bits == sizeof real_);
    std::memcpy(&bits, &real_, sizeof bits);
    return hash ^ bits;
  }

 private:
  static constexpr size_t kWords = 16384;

  void mix(size_t begin, size_t end, uint64_t tick) {
    uint64_t state = tick * 0x9e3779b97f4a7c15u + begin;
    for (size_t i = begin; i < end; ++i) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      words_[i] = words_[i] * 6364136223846793005u + state;
    }
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (!ending_) {
      if (done_ == wanted_) {
        changed_.wait(lock);
        continue;
      }
      lock.unlock();
      mix(kWords / 2, kWords, wanted_);
      lock.lock();
      ++done_;
      changed_.notify_all();
    }
  }

  std::vector<uint64_t> words_;
  double real_ = 1.0;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t wanted_ = 0;
  uint64_t done_ = 0;
  bool ending_ = false;
  std::thread worker_;
};

inline std::string ticker_line(const char* what, int tick, uint64_t hash) {
  char line[64];
  std::snprintf(line, sizeof line, "%s %d %016llx\n", what, tick, static_cast<unsigned long long>(hash));
  return line;
}

}  // namespace stillpoint::e2e

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_TICKER_WORK_H_
