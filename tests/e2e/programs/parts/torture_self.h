// What every process of torture.cc has: its random numbers, its place in the tree, its report, its digest.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_SELF_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_SELF_H_

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tests/e2e/programs/parts/report_line.h"

namespace torture {

inline uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15 + b + 0x7f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() { return mix(state_ += 0x632be59bd9b4e019, 1); }
  unsigned below(unsigned n) { return static_cast<unsigned>(next() % n); }
  unsigned between(unsigned low, unsigned high) { return low + below(high - low + 1); }
  bool one_in(unsigned n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

inline Random random(0);  // of this process

// Numbers that no scene gives to anything else: they are there after exec too.
inline constexpr int kReportFd = 100, kBoardFd = 101, kRecordsFd = 102;

// Shared by all: a memfd, so that it can be mapped again after exec.
struct Board {
  static constexpr unsigned kSlots = 8192;
  std::atomic<uint64_t> records, record_sum;
  std::atomic<unsigned> slots;
  std::atomic<uint64_t> digests[kSlots];  // of those that have ended
};

struct Self {
  pid_t root = 0;
  uint64_t seed = 0;
  unsigned slot = 0;
  uint64_t digest = 0;
  const char* scene = "";
  std::string directory;
  // As they ought to be. 0: those of the root, which are the starter's and another one's in every life.
  pid_t pid = 0, parent = 0, session = 0, group = 0;
  bool is_stopped_at_times = false;
};
inline Self self;
inline Board* board = nullptr;

__attribute__((format(printf, 1, 2))) inline void say(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_line(kReportFd, format, arguments);
  va_end(arguments);
}

inline bool expect_at(bool holds, const char* what, const char* file, int line) {
  const int error = errno;
  if (!holds) {
    say("ERROR %s:%d pid %d, %s of seed %lx: %s (errno %d)", std::strrchr(file, '/') + 1, line, getpid(), self.scene,
        self.seed, what, error);
  }
  return holds;
}
#define EXPECT(condition) ::torture::expect_at(condition, #condition, __FILE__, __LINE__)
// Without it the process cannot go on.
#define REQUIRE(condition) \
  if (!EXPECT(condition)) _exit(99)

// The result of a system call; EINTR only where somebody stops the process by signals.
template <typename Call>
auto done_at(Call call, const char* what, const char* file, int line) {
  for (;;) {
    const auto result = call();
    if (result >= 0) return result;
    if (errno == EINTR && self.is_stopped_at_times) continue;
    expect_at(false, what, file, line);
    _exit(98);
  }
}
#define DONE(...) ::torture::done_at([&] { return __VA_ARGS__; }, #__VA_ARGS__, __FILE__, __LINE__)

inline void note(uint64_t value) { self.digest = mix(self.digest, value); }

// Private memory that a process was born with, or has made: every process below has a copy of its own.
struct Region {
  uint64_t* words;
  size_t pages;
  std::vector<uint64_t> versions;  // what the content of each page is made from; 0: zeros
};
inline std::vector<Region> regions;

inline constexpr size_t kPageWords = 512;

inline void fill_page(Region& region, size_t page, uint64_t version) {
  for (size_t i = 0; i < kPageWords; ++i)
    region.words[page * kPageWords + i] = version == 0 ? 0 : version + i * version;
  region.versions[page] = version;
}

inline bool page_holds(const Region& region, size_t page) {
  const uint64_t version = region.versions[page];
  for (size_t i = 0; i < kPageWords; ++i) {
    if (region.words[page * kPageWords + i] != (version == 0 ? 0 : version + i * version)) return false;
  }
  return true;
}

inline void check_memory() {
  for (const Region& region : regions) {
    for (size_t page = 0; page < region.pages; ++page) REQUIRE(page_holds(region, page));
  }
}

inline void check_identity() {
  EXPECT(getpid() == self.pid);
  EXPECT(self.parent == 0 || getppid() == self.parent);
  EXPECT(getsid(0) == (self.session != 0 ? self.session : getsid(self.root)));
  EXPECT(getpgid(0) == (self.group != 0 ? self.group : getpgid(self.root)));
}

// Some milliseconds in one of the calls that a checkpoint finds processes in.
inline void rest(Random& dice = random) {
  const unsigned ms = dice.between(1, 6);
  timespec time = {0, static_cast<long>(ms) * 1'000'000};
  switch (dice.below(5)) {
    case 0:
      DONE(nanosleep(&time, nullptr));
      break;
    case 1:
      DONE(poll(nullptr, 0, static_cast<int>(ms)));
      break;
    case 2: {
      clock_gettime(CLOCK_MONOTONIC, &time);
      time.tv_nsec += static_cast<long>(ms) * 1'000'000;
      if (time.tv_nsec >= 1'000'000'000) time.tv_sec += 1, time.tv_nsec -= 1'000'000'000;
      int error;
      while ((error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr)) != 0) {
        REQUIRE(error == EINTR && self.is_stopped_at_times);
      }
      break;
    }
    case 3: {
      sigset_t nobody_sends;
      sigemptyset(&nobody_sends);
      sigaddset(&nobody_sends, SIGRTMAX);
      while (sigtimedwait(&nobody_sends, nullptr, &time) < 0 && errno == EINTR) REQUIRE(self.is_stopped_at_times);
      EXPECT(errno == EAGAIN);
      break;
    }
    default: {
      const int fd = DONE(epoll_create1(EPOLL_CLOEXEC));
      epoll_event event;
      EXPECT(DONE(epoll_wait(fd, &event, 1, static_cast<int>(ms))) == 0);
      close(fd);
    }
  }
}

// In loops that go round as often as others make them: without a random number.
inline void wait_shortly() { poll(nullptr, 0, 2); }

// A record in the file whose offset all share. What the records add up to does not depend on who wrote which first.
inline void write_record(uint64_t value) {
  const uint64_t record[2] = {value, mix(value, 16)};
  REQUIRE(DONE(write(kRecordsFd, record, sizeof record)) == sizeof record);
  ++board->records;
  board->record_sum += value;
}

// Between any two statements of a scene: all is as it was, and time for a checkpoint.
inline void tick() {
  check_identity();
  check_memory();
  rest();
  if (random.one_in(4)) write_record(random.next());
}

inline void tick_some() {
  for (unsigned i = random.between(1, 4); i > 0; --i) tick();
}

inline void read_whole(int fd, void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = DONE(read(fd, static_cast<char*>(data) + done, size - done));
    REQUIRE(n > 0);
    done += static_cast<size_t>(n);
  }
}
inline void write_whole(int fd, const void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    done += static_cast<size_t>(DONE(write(fd, static_cast<const char*>(data) + done, size - done)));
  }
}
template <typename T>
T read_one(int fd) {
  T value;
  read_whole(fd, &value, sizeof value);
  return value;
}
template <typename T>
void write_one(int fd, const T& value) {
  write_whole(fd, &value, sizeof value);
}

inline sigset_t set_of(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  return set;
}

inline siginfo_t wait_for_signal(int signal) {
  const sigset_t set = set_of(signal);
  siginfo_t info;
  std::memset(&info, 0, sizeof info);
  EXPECT(DONE(sigwaitinfo(&set, &info)) == signal);
  return info;
}
inline bool is_pending(int signal) {
  const sigset_t set = set_of(signal);
  const timespec now = {0, 0};
  const int result = sigtimedwait(&set, nullptr, &now);
  EXPECT(result == signal || (result < 0 && (errno == EAGAIN || errno == EINTR)));
  return result == signal;
}

}  // namespace torture

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_SELF_H_
