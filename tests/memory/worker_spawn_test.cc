#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "helper/memory/call_batch.h"
#include "tests/memory/worker_process.h"

namespace stillpoint {
namespace {

using ::testing::HasSubstr;
using worker::kStopOnError;

constexpr int kThreads = 50;

std::set<pid_t> tasks_of(pid_t pid) {
  std::set<pid_t> tids;
  for (const auto& entry : std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/task"))) {
    tids.insert(std::stoi(entry.path().filename()));
  }
  return tids;
}

pid_t ask_tid(WorkerClient& client) {
  CallBatch batch(client);
  const size_t call = batch.add(SYS_gettid, {}, kStopOnError, "gettid");
  const absl::Status status = batch.run();
  EXPECT_TRUE(status.ok()) << status;
  return static_cast<pid_t>(batch.result(call));
}

TEST(WorkerSpawn, ThreadsWorkEachOnItsOwn) {
  auto process = WorkerProcess::start({.thread_count = kThreads + 1});
  ASSERT_TRUE(process.ok()) << process.status();
  const auto tids = process->session().spawn(std::vector<pid_t>(kThreads, 0));
  ASSERT_TRUE(tids.ok()) << tids.status();
  ASSERT_EQ(tids->size(), size_t{kThreads});
  std::set<pid_t> expected(tids->begin(), tids->end());
  EXPECT_EQ(expected.size(), size_t{kThreads});
  expected.insert(process->pid());
  EXPECT_EQ(tasks_of(process->pid()), expected);
  for (int i = 0; i < kThreads; ++i) {
    EXPECT_EQ(ask_tid(process->session().client(i + 1)), (*tids)[static_cast<size_t>(i)]);
  }
  // They share what threads share: an fd made by one is known to another.
  CallBatch first(process->session().client(1));
  const uint64_t name = first.put_string("shared");
  const size_t memfd = first.add(SYS_memfd_create, {name, 0}, kStopOnError, "memfd_create");
  ASSERT_TRUE(first.run().ok());
  CallBatch other(process->session().client(kThreads));
  other.add(SYS_fcntl, {static_cast<uint64_t>(first.result(memfd)), F_GETFD}, kStopOnError, "fcntl");
  EXPECT_TRUE(other.run().ok());
  EXPECT_TRUE(process->main().exit().ok());
}

TEST(WorkerSpawn, MoreThanTheSessionHasRoomForIsRefused) {
  auto process = WorkerProcess::start({.thread_count = 2});
  ASSERT_TRUE(process.ok()) << process.status();
  EXPECT_TRUE(absl::IsInvalidArgument(process->session().spawn({0, 0}).status()));
}

TEST(WorkerSpawn, TakenTidIsNamed) {
  auto process = WorkerProcess::start({.thread_count = 3});
  ASSERT_TRUE(process.ok()) << process.status();
  const absl::Status status = process->session().spawn({0, process->pid()}).status();
  if (absl::IsPermissionDenied(status)) GTEST_SKIP() << "clone3(set_tid) needs CAP_CHECKPOINT_RESTORE";
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("clone3 of thread 2 with tid ", process->pid(), ": EEXIST")));
}

// `count` tids that nobody has, found by looking; downwards from the largest possible one.
std::vector<pid_t> free_tids(size_t count) {
  pid_t at = 0;
  std::ifstream("/proc/sys/kernel/pid_max") >> at;
  std::vector<pid_t> tids;
  for (--at; tids.size() < count && at > 1000; at -= 3) {
    if (::access(absl::StrCat("/proc/", at).c_str(), F_OK) != 0) tids.push_back(at);
  }
  return tids;
}

TEST(WorkerSpawn, ThreadsGetTheTidsAskedFor) {
  auto process = WorkerProcess::start({.thread_count = kThreads + 1});
  ASSERT_TRUE(process.ok()) << process.status();
  const std::vector<pid_t> wanted = free_tids(kThreads);
  ASSERT_EQ(wanted.size(), size_t{kThreads});
  const auto tids = process->session().spawn(wanted);
  if (absl::IsPermissionDenied(tids.status())) GTEST_SKIP() << "clone3(set_tid) needs CAP_CHECKPOINT_RESTORE";
  ASSERT_TRUE(tids.ok()) << tids.status();
  EXPECT_EQ(*tids, wanted);
  for (int i = 0; i < kThreads; ++i) {
    EXPECT_EQ(ask_tid(process->session().client(i + 1)), wanted[static_cast<size_t>(i)]);
  }
}

}  // namespace
}  // namespace stillpoint
