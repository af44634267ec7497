// How a worker starts, how it dies, and that nobody waits for a dead one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#include <cerrno>
#include <memory>

#include "absl/strings/str_cat.h"
#include "helper/base/syscalls.h"
#include "helper/memory/call_batch.h"
#include "helper/memory/task_liveness.h"
#include "helper/memory/worker_entry.h"
#include "tests/memory/worker_process.h"

namespace stillpoint {
namespace {

using ::testing::HasSubstr;
using worker::kStopOnError;

absl::Status sleep_long(WorkerClient& client) {
  CallBatch batch(client);
  const uint64_t duration = batch.put_value(timespec{3600, 0});
  batch.add(SYS_nanosleep, {duration, 0}, kStopOnError, "nanosleep");
  return batch.run();
}

TEST(WorkerLife, ExitEndsTheTask) {
  auto process = WorkerProcess::start({});
  ASSERT_TRUE(process.ok()) << process.status();
  EXPECT_TRUE(process->main().exit().ok());
  const int status = process->wait_for_end();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  std::vector<worker::Call> calls(1);
  EXPECT_FALSE(process->main().calls(calls, nullptr).ok());
}

TEST(WorkerLife, BlocksSignalsAndLeavesTheCLibrary) {
  auto process = WorkerProcess::start({});
  ASSERT_TRUE(process.ok()) << process.status();
  CallBatch batch(process->main());
  const uint64_t mask = batch.reserve(8);
  const uint64_t stack = batch.reserve(sizeof(stack_t));
  const uint64_t robust = batch.reserve(8);
  const uint64_t length = batch.reserve(8);
  batch.add(SYS_rt_sigprocmask, {SIG_BLOCK, 0, mask, 8}, kStopOnError, "rt_sigprocmask");
  batch.add(SYS_sigaltstack, {0, stack}, kStopOnError, "sigaltstack");
  batch.add(SYS_get_robust_list, {0, robust, length}, kStopOnError, "get_robust_list");
  // A new registration is accepted only when there is none.
  const uint64_t area = batch.reserve(64) / 32 * 32 + 32;
  batch.add(SYS_rseq, {area, 32, 0, 0x53053053}, kStopOnError, "rseq");
  batch.add(SYS_rseq, {area, 32, 1, 0x53053053}, kStopOnError, "rseq");
  const absl::Status status = batch.run();
  ASSERT_TRUE(status.ok()) << status;
  uint64_t value = 0;
  batch.fetch(mask, 8).copy(reinterpret_cast<char*>(&value), 8);
  EXPECT_EQ(value | (1ull << (SIGKILL - 1)) | (1ull << (SIGSTOP - 1)), ~uint64_t{0});
  EXPECT_EQ(batch.fetch(robust, 8), std::string(8, '\0'));
  stack_t signal_stack = {};
  batch.fetch(stack, sizeof signal_stack).copy(reinterpret_cast<char*>(&signal_stack), sizeof signal_stack);
  EXPECT_EQ(signal_stack.ss_flags, SS_DISABLE);
}

TEST(WorkerLife, DeathIsAnErrorWithItsSignal) {
  auto process = WorkerProcess::start({});
  ASSERT_TRUE(process.ok()) << process.status();
  // Killed while it is at work: the first look at whether it lives finds it dead.
  const pid_t pid = process->pid();
  auto by_pidfd = liveness_by_pidfd(UniqueFd(sys_pidfd_open(pid, 0)), "child");
  process->session().set_liveness([=](absl::string_view doing) {
    ::kill(pid, SIGKILL);
    return by_pidfd(doing);
  });
  const absl::Status status = sleep_long(process->main());
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_EQ(status.message(), "the child died (signal 9, SIGKILL) while making system calls");
  EXPECT_EQ(sleep_long(process->main()), status);  // and so is every job after it
}

TEST(WorkerLife, DeathAfterBeingReapedIsStillNoticed) {
  auto process = WorkerProcess::start({});
  ASSERT_TRUE(process.ok()) << process.status();
  ::kill(process->pid(), SIGKILL);
  process->wait_for_end();
  EXPECT_EQ(sleep_long(process->main()).message(), "the child is gone while making system calls");
}

TEST(WorkerLife, ImpatienceIsAnError) {
  auto process = WorkerProcess::start({});
  ASSERT_TRUE(process.ok()) << process.status();
  process->session().set_patience(absl::Milliseconds(50));
  EXPECT_TRUE(absl::IsDeadlineExceeded(sleep_long(process->main())));
}

TEST(WorkerLife, OccupiedAddressIsReported) {
  auto session = WorkerSession::create({});
  ASSERT_TRUE(session.ok()) << session.status();
  TestMemory occupied(4096);
  ASSERT_TRUE(session->place(occupied.address()).ok());
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) session->enter();
  session->watch(UniqueFd(sys_pidfd_open(pid, 0)), "child");
  std::vector<worker::Call> calls(1);
  const absl::Status status = session->main().calls(calls, nullptr);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the child exited (status 125)"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("mapping the worker, step 0: EEXIST"));
  EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
}

// A task stopped by ptrace, as a snapshot is: mapped by its own system calls, started by its registers.
class TracedWorker : public testing::Test {
 protected:
  void SetUp() override {
    auto session = WorkerSession::create({});
    ASSERT_TRUE(session.ok()) << session.status();
    session_ = std::make_unique<WorkerSession>(*std::move(session));
    ASSERT_TRUE(session_->place(free_address(session_->region_size())).ok());
    const std::vector<worker::Call> calls = session_->mapping_calls(session_->code_fd(), session_->control_fd());
    pid_ = ::fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      for (const worker::Call& call : calls) {
        if (call.flags != 0 && static_cast<uint64_t>(raw_call(call)) != call.arguments[0]) raw_exit(1);
      }
      if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) raw_exit(2);
      ::raise(SIGSTOP);
      raw_exit(3);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid_, &status, 0), pid_);
    ASSERT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP) << status;
    session_->watch(UniqueFd(sys_pidfd_open(pid_, 0)), "snapshot");
    start();
  }
  void TearDown() override {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) == pid_ && !WIFSIGNALED(status) && !WIFEXITED(status)) {
    }
  }
  void start() {
    user_regs_struct registers = {};
    ASSERT_EQ(::ptrace(PTRACE_GETREGS, pid_, nullptr, &registers), 0);
    const WorkerRegisters begin = session_->start_registers();
    registers.rip = begin.rip;
    registers.rsp = begin.rsp;
    registers.rdi = begin.rdi;
    registers.orig_rax = ~uint64_t{0};
    ASSERT_EQ(::ptrace(PTRACE_SETREGS, pid_, nullptr, &registers), 0);
    uint64_t all = ~uint64_t{0};
    constexpr auto kSetSigmask = static_cast<__ptrace_request>(0x420b);  // PTRACE_SETSIGMASK
    ASSERT_EQ(::ptrace(kSetSigmask, pid_, reinterpret_cast<void*>(sizeof all), &all), 0);
    ASSERT_EQ(::ptrace(PTRACE_CONT, pid_, nullptr, nullptr), 0);
  }

  std::unique_ptr<WorkerSession> session_;
  pid_t pid_ = 0;
};

TEST_F(TracedWorker, WorksWhileTraced) {
  CallBatch batch(session_->main());
  const size_t call = batch.add(SYS_getpid, {}, kStopOnError, "getpid");
  ASSERT_TRUE(batch.run().ok());
  EXPECT_EQ(batch.result(call), pid_);
}

TEST_F(TracedWorker, FatalSignalOfATraceeIsDeath) {
  const worker::Extent nowhere = {.address = free_address(8192), .length = 4096, .offset = 0};
  const auto result = session_->main().write_pages(1, {&nowhere, 1}, 4096, {});
  EXPECT_EQ(result.status().message(), "the snapshot is dying (signal 11, SIGSEGV) while writing pages");
}

}  // namespace
}  // namespace stillpoint
