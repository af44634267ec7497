// A thread that blocks, wakes up, and checks that nothing of it has changed. Parts of the target programs
// blocked_threads and sdk_blocked_threads.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_WORKER_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_WORKER_H_

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/programs/parts/report_line.h"

namespace blocked {

// One line per write(2), so that lines of several threads never mix.
class Report {
 public:
  static void open(const char* path) {
    number() = ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (number() < 0) std::exit(3);
  }
  __attribute__((format(printf, 1, 2))) static void line(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_line(number(), format, arguments);
    va_end(arguments);
  }

 private:
  static int& number() {
    static int fd = -1;
    return fd;
  }
};

inline thread_local uint64_t tls_pattern[64];
inline thread_local const char* tls_name = nullptr;

class Worker {
 public:
  Worker(std::string name, std::function<void(Worker&)> step) : name_(std::move(name)), step_(std::move(step)) {}

  void start() {
    if (::pthread_create(&thread_, nullptr, &Worker::main, this) != 0) std::exit(5);
  }
  uint64_t steps() const { return steps_.load(); }
  const std::string& name() const { return name_; }
  pthread_t thread() const { return thread_; }
  pid_t tid() const { return tid_.load(); }

  __attribute__((format(printf, 2, 3))) void error(const char* format, ...) {
    char text[384];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    Report::line("ERROR %s (step %llu): %s", name_.c_str(), static_cast<unsigned long long>(steps()), text);
  }
  // Signals that this thread takes by handler; all others stay blocked. Before start().
  void unblock(int signal_number) { unblocked_.push_back(signal_number); }

 private:
  static void* main(void* self) {
    static_cast<Worker*>(self)->run();
    return nullptr;
  }

  void run() {
    tid_ = static_cast<pid_t>(::syscall(SYS_gettid));
    ::pthread_setname_np(::pthread_self(), name_.c_str());
    altstack_.resize(65536);
    stack_t stack = {};
    stack.ss_sp = altstack_.data();
    stack.ss_size = altstack_.size();
    if (::sigaltstack(&stack, nullptr) != 0) error("sigaltstack: errno %d", errno);
    sigset_t some;
    ::sigemptyset(&some);
    for (const int number : unblocked_) ::sigaddset(&some, number);
    ::pthread_sigmask(SIG_UNBLOCK, &some, nullptr);
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask_);
    tls_name = name_.c_str();
    for (size_t i = 0; i < 64; ++i) tls_pattern[i] = pattern(i);
    for (;;) {
      step_(*this);
      check();
      ++steps_;
    }
  }

  uint64_t pattern(size_t i) const { return reinterpret_cast<uintptr_t>(this) * 0x9e3779b97f4a7c15u + i; }

  void check() {
    for (size_t i = 0; i < 64; ++i) {
      if (tls_pattern[i] != pattern(i))
        error("thread-local word %zu is %llx", i, static_cast<unsigned long long>(tls_pattern[i]));
    }
    if (tls_name != name_.c_str()) error("thread-local name changed");
    if (::syscall(SYS_gettid) != tid_) error("tid is %ld", ::syscall(SYS_gettid));
    char name[16] = {};
    ::prctl(PR_GET_NAME, name);
    if (name_ != name) error("thread name is %s", name);
    stack_t stack = {};
    ::sigaltstack(nullptr, &stack);
    if (stack.ss_sp != altstack_.data() || stack.ss_size != altstack_.size() || stack.ss_flags != 0) {
      error("sigaltstack is %p, %zu, flags %d", stack.ss_sp, stack.ss_size, stack.ss_flags);
    }
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    if (std::memcmp(&mask, &mask_, 8) != 0) error("signal mask changed");
    check_rseq();
  }

  // sched_getcpu() reads what the kernel writes to the thread's rseq area; getcpu(2) asks it.
  void check_rseq() {
    for (int attempt = 0; attempt < 10000; ++attempt) {
      unsigned cpu = 0;
      const int cached = ::sched_getcpu();
      if (::syscall(SYS_getcpu, &cpu, nullptr, nullptr) == 0 && static_cast<int>(cpu) == cached) return;
    }
    error("rseq does not follow the thread: sched_getcpu() is %d", ::sched_getcpu());
  }

  const std::string name_;
  const std::function<void(Worker&)> step_;
  std::vector<int> unblocked_;
  std::vector<char> altstack_;
  sigset_t mask_ = {};
  pthread_t thread_ = {};
  std::atomic<pid_t> tid_{0};
  std::atomic<uint64_t> steps_{0};
};

// What one thread gives and another takes; the giver stays at most a few ahead.
struct Flow {
  std::atomic<uint64_t> given{0}, taken{0};
  bool wanted() const { return given.load() - taken.load() < 3; }
};

}  // namespace blocked

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_WORKER_H_
