#include "sdk/fork_safe_lock.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace stillpoint::sdk {
namespace {

TEST(ForkSafeLock, ExcludesThreads) {
  ForkSafeLock lock;
  long counter = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20000; ++round) {
        std::lock_guard guard(lock);
        counter = counter + 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter, 160000);
}

TEST(ForkSafeLock, KnowsItsHolder) {
  ForkSafeLock lock;
  EXPECT_FALSE(lock.held_by_this_thread());
  std::lock_guard guard(lock);
  EXPECT_TRUE(lock.held_by_this_thread());
  std::thread([&] { EXPECT_FALSE(lock.held_by_this_thread()); }).join();
}

TEST(ForkSafeLock, WakesWaiters) {
  ForkSafeLock lock;
  std::atomic<int> through{0};
  lock.lock();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      std::lock_guard guard(lock);
      ++through;
    });
  }
  usleep(20000);  // let some of them wait in the kernel; right either way
  EXPECT_EQ(through, 0);
  lock.unlock();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(through, 4);
}

TEST(ForkSafeLock, IsFreeInAForkedChild) {
  ForkSafeLock lock;
  std::atomic<bool> held{false}, release{false};
  std::thread holder([&] {
    std::lock_guard guard(lock);
    held = true;
    while (!release) std::this_thread::yield();
  });
  while (!held) std::this_thread::yield();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);  // instead of hanging
    lock.lock();
    const bool mine = lock.held_by_this_thread();
    lock.unlock();
    lock.lock();
    lock.unlock();
    ::_exit(mine ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  release = true;
  holder.join();
}

}  // namespace
}  // namespace stillpoint::sdk
