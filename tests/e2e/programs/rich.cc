// rich REPORT DIRECTORY ROUNDS DELAY_MS: a bit of everything a program may hold. Each round uses all of it and appends
// one line that depends on all rounds before; two runs of it give the same lines. Ends after ROUNDS, or when
// DIRECTORY/stop exists. With NO_MEMFD in its environment it holds none.
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

namespace {

void require(bool right, const char* what) {
  if (right) return;
  std::perror(what);
  std::fprintf(stderr, "ERROR %s\n", what);
  std::_Exit(9);
}

uint64_t mix(uint64_t a, uint64_t b) { return (a ^ b) * 0x9e3779b97f4a7c15u + (a >> 29); }

// A thread that answers numbers by a mutex and a condition variable.
class Companion {
 public:
  Companion() : thread_([this] { run(); }) {}
  uint64_t ask(uint64_t number) {
    std::unique_lock lock(mutex_);
    question_ = number;
    asked_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !asked_; });
    return answer_;
  }
  void leave() { thread_.detach(); }

 private:
  void run() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return asked_; });
      total_ = answer_ = mix(total_, question_);
      asked_ = false;
      changed_.notify_all();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool asked_ = false;
  uint64_t question_ = 0, answer_ = 0, total_ = 1;
  std::thread thread_;
};

class Everything {
 public:
  explicit Everything(const std::string& directory) {
    require(::pipe2(pipe_, O_CLOEXEC) == 0, "pipe2");
    event_ = ::eventfd(5, EFD_CLOEXEC);
    timer_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    const bool memfd = ::getenv("NO_MEMFD") == nullptr;
    if (memfd) memfd_ = ::memfd_create("rich", MFD_CLOEXEC);
    file_ = ::open((directory + "/data").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    duplicate_ = ::fcntl(file_, F_DUPFD_CLOEXEC, 100);
    unlinked_ = ::open((directory + "/gone").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(pipe_[0] >= 0 && event_ >= 0 && timer_ >= 0 && epoll_ >= 0 && (memfd_ >= 0) == memfd, "open");
    require(file_ >= 0 && duplicate_ >= 0 && unlinked_ >= 0, "open of a file");
    require(::unlink((directory + "/gone").c_str()) == 0, "unlink");
    require(!memfd || ::ftruncate(memfd_, 8192) == 0, "ftruncate of the memfd");
    require(::ftruncate(unlinked_, 4096) == 0, "ftruncate");
    shared_ = map(4096, MAP_SHARED | MAP_ANONYMOUS, -1);
    memory_ = map(8192, memfd ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS, memfd_);
    again_ = memfd ? map(8192, MAP_SHARED, memfd_) : memory_;
    private_ = map(1 << 20, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    watch(event_, 1);
    watch(timer_, 2);
    watch(pipe_[0], 3);
    make_posix_timer();
  }

  uint64_t round(uint64_t state) {
    state = mix(state, companion_.ask(state));
    state = through_pipe(state);
    state = through_events(state);
    state = through_memory(state);
    state = through_files(state);
    wait_for_posix_timer();
    return state;
  }
  void leave() { companion_.leave(); }

 private:
  static uint64_t* map(size_t size, int flags, int fd) {
    void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    require(at != MAP_FAILED, "mmap");
    return static_cast<uint64_t*>(at);
  }

  void watch(int fd, uint64_t data) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = data;
    require(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
  }

  void make_posix_timer() {
    sigevent event = {};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN;
    timer_t first = {};
    require(::timer_create(CLOCK_MONOTONIC, &event, &first) == 0, "timer_create");
    event.sigev_value.sival_int = 77;
    require(::timer_create(CLOCK_MONOTONIC, &event, &posix_) == 0, "timer_create");
    require(::timer_delete(first) == 0, "timer_delete");  // ids with a gap
    const itimerspec spec = {{0, 3000000}, {0, 3000000}};
    require(::timer_settime(posix_, 0, &spec, nullptr) == 0, "timer_settime");
  }

  void wait_for_posix_timer() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGRTMIN);
    siginfo_t info = {};
    require(::sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == 77, "sigwaitinfo");
    itimerspec left = {};
    require(::timer_gettime(posix_, &left) == 0 && left.it_interval.tv_nsec == 3000000, "timer_gettime");
  }

  // The pipe always holds one number: the one of the round before.
  uint64_t through_pipe(uint64_t state) {
    require(::write(pipe_[1], &state, sizeof state) == sizeof state, "write to the pipe");
    if (!filled_) {
      filled_ = true;
      return state;
    }
    uint64_t before = 0;
    require(::read(pipe_[0], &before, sizeof before) == sizeof before, "read from the pipe");
    return mix(state, before);
  }

  uint64_t through_events(uint64_t state) {
    const itimerspec spec = {{0, 0}, {0, 2000000}};
    require(::timerfd_settime(timer_, 0, &spec, nullptr) == 0, "timerfd_settime");
    uint64_t ticks = 0, value = 0;
    require(::read(timer_, &ticks, sizeof ticks) == sizeof ticks && ticks == 1, "timerfd");
    epoll_event events[4] = {};
    const int ready = ::epoll_wait(epoll_, events, 4, -1);
    require(ready == 2, "epoll_wait: the eventfd and the pipe are readable");
    require(::read(event_, &value, sizeof value) == sizeof value && value == 5, "eventfd");
    require(::write(event_, &value, sizeof value) == sizeof value, "eventfd");
    return mix(state, events[0].data.u64 + events[1].data.u64);
  }

  uint64_t through_memory(uint64_t state) {
    shared_[state % 512] += state;
    memory_[state % 1024] ^= state;
    require(again_[state % 1024] == memory_[state % 1024], "two mappings of one memfd");
    private_[state % 131072] += 1;
    uint64_t sum = 0;
    for (size_t i = 0; i < 512; ++i) sum = mix(sum, shared_[i]);
    for (size_t i = 0; i < 1024; ++i) sum = mix(sum, again_[i]);
    for (size_t i = 0; i < 131072; ++i) sum += private_[i] * i;
    return mix(state, sum);
  }

  uint64_t through_files(uint64_t state) {
    require(::write(file_, &state, sizeof state) == sizeof state, "write");
    const off_t end = ::lseek(duplicate_, 0, SEEK_CUR);  // the offset is shared
    require(end > 0 && end % 8 == 0, "shared offset");
    uint64_t first = 0, old = 0;
    require(::pread(duplicate_, &first, sizeof first, 0) == sizeof first, "pread");
    require(::pread(unlinked_, &old, sizeof old, 64) == sizeof old, "pread of the deleted file");
    old = mix(old, state);
    require(::pwrite(unlinked_, &old, sizeof old, 64) == sizeof old, "pwrite to the deleted file");
    return mix(state, mix(first, old) + static_cast<uint64_t>(end));
  }

  Companion companion_;
  bool filled_ = false;
  int pipe_[2] = {-1, -1};
  int memfd_ = -1;
  int event_, timer_, epoll_, file_, duplicate_, unlinked_;
  uint64_t *shared_, *memory_, *again_, *private_;
  timer_t posix_ = {};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const int report = ::open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  require(report >= 0, "open of the report");
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGRTMIN);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);  // for all threads: it is waited for
  Everything everything(argv[2]);
  uint64_t state = 1;
  const std::string stop = std::string(argv[2]) + "/stop";
  for (int round = 0; round < std::atoi(argv[3]) && ::access(stop.c_str(), F_OK) != 0; ++round) {
    state = everything.round(state);
    char line[64];
    const int length = std::snprintf(line, sizeof line, "%d %016llx\n", round, static_cast<unsigned long long>(state));
    require(::write(report, line, static_cast<size_t>(length)) == length, "write to the report");
    ::usleep(static_cast<useconds_t>(std::atoi(argv[4])) * 1000);
  }
  everything.leave();
  std::_Exit(0);
}
