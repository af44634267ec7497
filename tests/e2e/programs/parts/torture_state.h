// Scenes of torture.cc about memory, files and timers.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_STATE_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_STATE_H_

#include <sys/timerfd.h>

#include "tests/e2e/programs/parts/torture_processes.h"

namespace torture {

inline Region& add_region(size_t pages) {
  void* const memory =
      mmap(nullptr, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  regions.push_back({static_cast<uint64_t*>(memory), pages, std::vector<uint64_t>(pages)});
  return regions.back();
}

inline void change_some(Region& region) {
  for (unsigned i = random.between(1, 1 + static_cast<unsigned>(region.pages) / 2); i > 0; --i) {
    fill_page(region, random.below(static_cast<unsigned>(region.pages)), random.next() | 1);
  }
}

inline void empty_some(Region& region) {
  const size_t first = random.below(static_cast<unsigned>(region.pages));
  const size_t count = random.between(1, static_cast<unsigned>(region.pages - first));
  REQUIRE(madvise(region.words + first * kPageWords, count * 4096, MADV_DONTNEED) == 0);
  for (size_t page = first; page < first + count; ++page) region.versions[page] = 0;
}

// Copies on write over several generations.
inline void copy_on_write() {
  static unsigned depth = 0;
  Region& region = add_region(random.one_in(6) ? 800 : random.between(1, 24));  // the larger: more than is just copied
  change_some(region);
  if (random.one_in(3)) empty_some(region);
  tick();
  uint64_t* const wiped =
      static_cast<uint64_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(wiped != MAP_FAILED && madvise(wiped, 4096, MADV_WIPEONFORK) == 0);
  *wiped = 1;
  static uint64_t* wiped_page;
  wiped_page = wiped;
  const Child child = fork_child([] {
    EXPECT(*wiped_page == 0);
    for (Region& each : regions) change_some(each);
    tick();
    if (++depth < 3 && random.one_in(2)) copy_on_write();
    tick();
    for (const Region& each : regions) {
      for (const uint64_t version : each.versions) note(version);
    }
  });
  for (int i = 0; i < 3; ++i) {
    change_some(regions.back());
    tick();
  }
  EXPECT(*wiped == 1);
  finish(child);
  munmap(wiped, 4096);
  munmap(regions.back().words, regions.back().pages * 4096);
  regions.pop_back();
}

// A memfd mapped and written by two, each in its own half, and one shared anonymous page that is only ever added to.
inline void shared_memory() {
  static uint64_t* half[2];
  static std::atomic<uint64_t>* sum;
  static int fd;
  constexpr size_t kSize = size_t{16} * 4096;
  fd = DONE(memfd_create("torture", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(ftruncate(fd, kSize) == 0);
  void* const mapped = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  void* const page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(mapped != MAP_FAILED && page != MAP_FAILED);
  half[0] = static_cast<uint64_t*>(mapped), half[1] = half[0] + kSize / 16;
  sum = static_cast<std::atomic<uint64_t>*>(page);
  static const auto work = [](int which) {
    Region region{half[which], 8, std::vector<uint64_t>(8)};
    for (int i = 0; i < 4; ++i) {
      change_some(region);
      tick();
      for (size_t at = 0; at < region.pages; ++at) EXPECT(page_holds(region, at));
      *sum += 5;
      uint64_t seen = 0;
      EXPECT(DONE(pread(fd, &seen, sizeof seen, which * 8 * 4096)) == sizeof seen && seen == region.versions[0]);
    }
    note(region.versions[3]);
  };
  const Child child = fork_child([] {
    work(1);
    // Its end may be seen before the kernel has taken its memory away, and seals want nobody to have it mapped.
    REQUIRE(munmap(half[0], kSize) == 0);
  });
  work(0);
  finish(child);
  EXPECT(*sum == 40);
  munmap(mapped, kSize);
  REQUIRE(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE) == 0);
  tick();
  EXPECT(fcntl(fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_WRITE));
  close(fd);
  munmap(page, 4096);
}

// One offset for two processes: every record is read once, by one of the two. And a file without a name.
inline void shared_offsets() {
  static int fd, nameless;
  static std::atomic<uint64_t>* sum;
  const std::string name = self.directory + "/r" + std::to_string(self.seed);
  constexpr uint64_t kRecords = 60;
  fd = DONE(open(name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  for (uint64_t i = 0; i < kRecords; ++i) write_one(fd, i);
  close(fd);
  fd = DONE(open(name.c_str(), O_RDONLY | O_CLOEXEC));
  nameless = DONE(open(self.directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  void* const page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(page != MAP_FAILED);
  sum = static_cast<std::atomic<uint64_t>*>(page);
  static const auto work = [] {
    uint64_t value = 0;
    Random dice(self.seed);  // who reads how many is nobody's choice
    while (DONE(read(fd, &value, sizeof value)) == sizeof value) {
      *sum += value + 1;
      if (dice.one_in(6)) rest(dice);
    }
    for (int i = 0; i < 5; ++i) write_one(nameless, random.next());
  };
  const Child child = fork_child([] { work(); });
  work();
  finish(child);
  EXPECT(*sum == kRecords * (kRecords + 1) / 2);
  EXPECT(DONE(lseek(nameless, 0, SEEK_CUR)) == 80);
  uint64_t total = 0, value = 0;
  for (int i = 0; i < 10; ++i) {
    EXPECT(DONE(pread(nameless, &value, sizeof value, i * 8)) == sizeof value);
    total += value;
  }
  note(total);
  tick();
  close(fd), close(nameless);
  munmap(page, 4096);
}

// Every timer expires once, whenever that is.
inline void timers() {
  const auto soon = [&] { return timespec{0, static_cast<long>(random.between(1, 60)) * 1'000'000}; };
  const int fd = DONE(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  const itimerspec once = {{0, 0}, soon()};
  REQUIRE(timerfd_settime(fd, 0, &once, nullptr) == 0);
  std::vector<timer_t> posix_timers;
  for (unsigned i = random.between(1, 3); i > 0; --i) {
    sigevent event = {};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN + 6;
    event.sigev_value.sival_int = static_cast<int>(posix_timers.size());
    timer_t timer;
    REQUIRE(timer_create(random.one_in(2) ? CLOCK_MONOTONIC : CLOCK_REALTIME, &event, &timer) == 0);
    const itimerspec when = {{0, 0}, soon()};
    REQUIRE(timer_settime(timer, 0, &when, nullptr) == 0);
    posix_timers.push_back(timer);
  }
  const sigset_t alarm = set_of(SIGALRM);
  sigprocmask(SIG_BLOCK, &alarm, nullptr);
  const itimerval interval = {{0, 0}, {0, static_cast<suseconds_t>(random.between(1, 40)) * 1000}};
  REQUIRE(setitimer(ITIMER_REAL, &interval, nullptr) == 0);
  tick_some();
  unsigned seen = 0;
  for (size_t i = 0; i < posix_timers.size(); ++i) {
    const siginfo_t info = wait_for_signal(SIGRTMIN + 6);
    EXPECT(info.si_code == SI_TIMER);
    seen |= 1U << info.si_value.sival_int;
    if (random.one_in(2)) tick();
  }
  EXPECT(seen == (1U << posix_timers.size()) - 1);
  tick();
  EXPECT(read_one<uint64_t>(fd) == 1);
  wait_for_signal(SIGALRM);
  tick_some();
  EXPECT(!is_pending(SIGRTMIN + 6) && !is_pending(SIGALRM));
  for (const timer_t timer : posix_timers) EXPECT(timer_delete(timer) == 0);
  close(fd);
}

}  // namespace torture

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_STATE_H_
