// Processes that are hard to freeze for a reason of their own.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "target.h"

extern "C" void rseq_spin(uint64_t* rseq_cs, volatile long* aborts, const int* stop);

namespace {

int finish() {
  if (!failed()) std::printf("ok\n");
  std::fflush(stdout);
  return failed() ? 1 : 0;
}

pthread_t leader;

void* outlive_leader(void*) {
  pthread_join(leader, nullptr);
  announce_ready();
  wait_for_command();
  ::_exit(finish());
}

volatile long aborts = 0;

ucontext_t main_context, coroutine_context;

// Stays on its small stack, where a frame and scratch memory reach into what lies below.
void coroutine() {
  wait_for_command();
  ::setcontext(&main_context);
}

}  // namespace

// The parent is in uninterruptible sleep until standard input has something to read.
int run_vfork() {
  announce_ready();
  const pid_t child = ::vfork();
  if (child == 0) {
    char command;
    ::_exit(::read(STDIN_FILENO, &command, 1) < 0 ? 1 : 0);
  }
  int status = -1;
  if (::waitpid(child, &status, 0) != child || status != 0) fail("the child of vfork");
  return finish();
}

int run_zombie_leader() {
  leader = pthread_self();
  pthread_t other;
  if (pthread_create(&other, nullptr, &outlive_leader, nullptr) != 0) return 1;
  pthread_exit(nullptr);
}

// Threads that make threads and end, as fast as they can.
int run_thread_storm() {
  std::vector<std::thread> makers;
  for (int i = 0; i < 3; ++i) {
    makers.emplace_back([] {
      while (!stopping) {
        std::vector<std::thread> young;
        for (int j = 0; j < 4; ++j) young.emplace_back([] { std::this_thread::yield(); });
        for (std::thread& thread : young) thread.join();
      }
    });
  }
  announce_ready();
  wait_for_command();
  for (std::thread& maker : makers) maker.join();
  return finish();
}

int run_many(int count) {
  std::vector<pthread_t> threads(static_cast<size_t>(count));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  for (pthread_t& thread : threads) {
    const int error = pthread_create(
        &thread, &attributes,
        [](void*) -> void* {
          while (stop_word == 0) ::syscall(SYS_futex, &stop_word, 0 /* FUTEX_WAIT */, 0, nullptr);
          return nullptr;
        },
        nullptr);
    if (error != 0) return 1;
  }
  announce_ready();
  wait_for_command();
  ::syscall(SYS_futex, &stop_word, 1 /* FUTEX_WAKE */, 1 << 20);
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  return finish();
}

// A thread that is inside a restartable sequence at every moment: an abort that gets lost leaves it there for good.
int run_rseq() {
  if (__rseq_size == 0) {
    std::printf("no rseq\n");
    return 0;
  }
  std::thread spinner([] {
    auto* area = reinterpret_cast<struct rseq*>(static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset);
    rseq_spin(reinterpret_cast<uint64_t*>(&area->rseq_cs), &aborts, reinterpret_cast<int*>(&stop_word));
  });
  announce_ready();
  char command;
  while (::read(STDIN_FILENO, &command, 1) == 1 && command == '?') {
    const long before = aborts;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::printf("aborts %ld\n", before);
    std::fflush(stdout);
  }
  stopping = true;
  stop_word = 1;
  spinner.join();
  return finish();
}

int run_small_stack() {
  constexpr size_t kBelow = 64 << 10, kStack = 4096;
  static unsigned char memory[kBelow + kStack];
  for (size_t i = 0; i < kBelow; ++i) memory[i] = static_cast<unsigned char>(i * 7 + (i >> 8));
  ::getcontext(&coroutine_context);
  coroutine_context.uc_stack.ss_sp = memory + kBelow;
  coroutine_context.uc_stack.ss_size = kStack;
  coroutine_context.uc_link = &main_context;
  ::makecontext(&coroutine_context, &coroutine, 0);
  announce_ready();
  ::swapcontext(&main_context, &coroutine_context);
  for (size_t i = 0; i < kBelow; ++i) {
    if (memory[i] != static_cast<unsigned char>(i * 7 + (i >> 8))) {
      fail("memory below the stack at -" + std::to_string(kBelow - i));
      break;
    }
  }
  return finish();
}

// getpid(2) is deadly.
int run_seccomp() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {sizeof code / sizeof *code, code};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    fail("seccomp");
    return 1;
  }
  announce_ready();
  wait_for_command();
  return finish();
}
