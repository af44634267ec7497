#include "helper/memory/call_batch.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "helper/base/syscalls.h"
#include "tests/memory/worker_process.h"

namespace stillpoint {
namespace {

using ::testing::HasSubstr;
using worker::kExpectArgument0;
using worker::kStopOnError;

constexpr SessionSize kSmall = {.control_bytes = 64 << 10};

TEST(CallBatch, ReturnsResultsAndFetchesWhatTheKernelWrote) {
  auto process = WorkerProcess::start({});
  ASSERT_TRUE(process.ok()) << process.status();
  CallBatch batch(process->main());
  const uint64_t name = batch.reserve(sizeof(utsname));
  const size_t pid = batch.add(SYS_getpid, {}, kStopOnError, "getpid");
  const size_t uname_call = batch.add(SYS_uname, {name}, kStopOnError, "uname");
  const size_t bad = batch.add(SYS_close, {1'000'000}, 0, "close");
  ASSERT_TRUE(batch.run().ok());
  EXPECT_EQ(batch.result(pid), process->pid());
  EXPECT_EQ(batch.result(uname_call), 0);
  EXPECT_EQ(batch.result(bad), -EBADF);
  EXPECT_EQ(std::string(batch.fetch(name, sizeof(utsname)).c_str()), "Linux");
  EXPECT_EQ(batch.fetch(name - (1 << 20), 8), "");
}

TEST(CallBatch, StopsAtTheFirstErrorAndNamesIt) {
  auto process = WorkerProcess::start({});
  ASSERT_TRUE(process.ok()) << process.status();
  CallBatch batch(process->main());
  const size_t good = batch.add(SYS_getpid, {}, kStopOnError, "getpid");
  const uint64_t path = batch.put_string("/nonexistent/file");
  const size_t failing =
      batch.add(SYS_openat, {static_cast<uint64_t>(AT_FDCWD), path, O_RDONLY}, kStopOnError, "open /nonexistent/file");
  const size_t unmade = batch.add(SYS_getppid, {}, kStopOnError, "getppid");
  const absl::Status status = batch.run();
  EXPECT_THAT(std::string(status.message()), HasSubstr("open /nonexistent/file: ENOENT"));
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(batch.result(good), process->pid());
  EXPECT_EQ(batch.result(failing), -ENOENT);
  EXPECT_EQ(batch.result(unmade), -ECANCELED);
  EXPECT_EQ(batch.run(), status);  // the error stays

  CallBatch next(process->main());  // the worker itself is unharmed
  const size_t again = next.add(SYS_getpid, {}, kStopOnError, "getpid");
  EXPECT_TRUE(next.run().ok());
  EXPECT_EQ(next.result(again), process->pid());
}

TEST(CallBatch, ExpectedResultIsEnforced) {
  auto process = WorkerProcess::start({});
  ASSERT_TRUE(process.ok()) << process.status();
  const uint64_t free = free_address(kPageSize);
  CallBatch batch(process->main());
  batch.add(SYS_mmap, {free, kPageSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, ~uint64_t{0}, 0},
            kStopOnError | kExpectArgument0, "mmap at its old place");
  ASSERT_TRUE(batch.run().ok());
  // Taken now: without MAP_FIXED the kernel maps elsewhere.
  batch.add(SYS_mmap, {free, kPageSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, ~uint64_t{0}, 0},
            kStopOnError | kExpectArgument0, "mmap elsewhere");
  const absl::Status status = batch.run();
  EXPECT_THAT(std::string(status.message()), HasSubstr("mmap elsewhere: gave 0x"));
  EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("instead of 0x", absl::Hex(free))));
}

TEST(CallBatch, OutgrowsTheControlBlock) {
  auto process = WorkerProcess::start(kSmall);
  ASSERT_TRUE(process.ok()) << process.status();
  // The child inherited none of our later fds, so it makes its own and we read it back through /proc.
  CallBatch batch(process->main());
  const uint64_t name = batch.put_string("lines");
  const size_t memfd = batch.add(SYS_memfd_create, {name, 0}, kStopOnError, "memfd_create");
  ASSERT_TRUE(batch.run().ok());
  const uint64_t fd = static_cast<uint64_t>(batch.result(memfd));
  std::string expected;
  for (int i = 0; i < 4000; ++i) {
    const std::string line = absl::StrCat("line ", i, std::string(static_cast<size_t>(i % 97), '.'), "\n");
    const uint64_t first = batch.put(line.substr(0, 3));
    const uint64_t rest = batch.put(line.substr(3));
    batch.add(SYS_write, {fd, first, 3}, kStopOnError, "write");
    batch.add(SYS_write, {fd, rest, line.size() - 3}, kStopOnError, "write");
    expected += line;
  }
  ASSERT_TRUE(batch.run().ok());
  EXPECT_EQ(batch.size(), 8001u);
  const std::string path = absl::StrCat("/proc/", process->pid(), "/fd/", fd);
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(file.valid());
  EXPECT_EQ(file_contents(file.get()), expected);
}

TEST(CallBatch, ErrorInAnEarlierPieceStopsTheRest) {
  auto process = WorkerProcess::start(kSmall);
  ASSERT_TRUE(process.ok()) << process.status();
  CallBatch batch(process->main());
  for (int i = 0; i < 3000; ++i) {
    batch.add(i == 1000 ? SYS_close : SYS_getpid, {1'000'000}, kStopOnError, absl::StrCat("call ", i));
  }
  const absl::Status status = batch.run();
  EXPECT_THAT(std::string(status.message()), HasSubstr("call 1000: EBADF"));
  EXPECT_EQ(batch.result(999), process->pid());
  EXPECT_EQ(batch.result(1001), -ECANCELED);
  EXPECT_EQ(batch.result(2999), -ECANCELED);
}

TEST(CallBatch, DataThatCannotFitIsAnError) {
  auto process = WorkerProcess::start(kSmall);
  ASSERT_TRUE(process.ok()) << process.status();
  CallBatch batch(process->main());
  EXPECT_NE(batch.put(std::string(batch.data_limit(), 'x')), 0u);
  EXPECT_EQ(batch.put(std::string(batch.data_limit() + 1, 'x')), 0u);
  EXPECT_TRUE(absl::IsResourceExhausted(batch.run()));
}

TEST(WorkerClient, CallsMoreThanFitInSeveralRounds) {
  auto process = WorkerProcess::start(kSmall);
  ASSERT_TRUE(process.ok()) << process.status();
  std::vector<worker::Call> calls(5000);
  for (worker::Call& call : calls) call.number = SYS_getpid;
  calls[4321].number = SYS_close;
  calls[4321].arguments[0] = ~uint64_t{0};
  calls[4321].flags = kStopOnError;
  calls[4321].tag = 77;
  const absl::Status status = process->main().calls(calls, [](uint32_t tag) { return absl::StrCat("number ", tag); });
  EXPECT_THAT(std::string(status.message()), HasSubstr("number 77: EBADF"));
  for (size_t i = 0; i < 4321; ++i) ASSERT_EQ(calls[i].result, process->pid());
  EXPECT_EQ(calls[4322].result, -ECANCELED);
}

}  // namespace
}  // namespace stillpoint
