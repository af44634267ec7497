#include "helper/tracee/thread.h"

#include <elf.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/tracee/interrupted_call.h"
#include "helper/tracee/refused_attach.h"
#include "helper/tracee/stragglers.h"

namespace stillpoint {
namespace {

// Linux: include/uapi/linux/ptrace.h. Numbers, since <linux/ptrace.h> and <sys/ptrace.h> cannot both be included.
constexpr int kPtraceEventStop = 128;
constexpr int kPtraceGetSyscallUserDispatch = 0x4210;  // 6.4
constexpr int kPtraceGetRseqConfiguration = 0x420f;
constexpr size_t kKernelSiginfoSize = 128;
constexpr size_t kKernelSigsetSize = 8;
constexpr size_t kMaxXstateSize = size_t{1} << 20;
constexpr absl::Duration kDetachLimit = absl::Milliseconds(100);

long ptrace_raw(int request, pid_t tid, uintptr_t address, uintptr_t data) {
  return ::ptrace(static_cast<__ptrace_request>(request), tid, address, data);
}

uintptr_t pointer_bits(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

absl::Status ptrace_error(absl::string_view name, pid_t tid) {
  return errno_status(errno, absl::StrCat("ptrace(", name, ") of tid ", tid));
}

// Takes the exit status of a dead tracee, which stays a zombie until its tracer does. A process that is our own child
// is left to the wait(2) of whoever started it.
void reap(pid_t tid) {
  const absl::StatusOr<procfs::TaskStatus> status = procfs::read_status(tid, tid);
  if (!status.ok()) return;
  if (status->thread_group == tid && status->parent_pid == ::getpid()) return;
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(tid), &info, WEXITED | WNOHANG | __WALL);  // a zombie leader stays one for now
}

// The wait between two looks at a tracee: most stop within microseconds, so the processor is only yielded at first.
void back_off(int round) {
  constexpr int kYields = 64;
  if (round < kYields) {
    ::sched_yield();
    return;
  }
  const long ns = std::min(50'000L * (1 + (round - kYields) / 100), 1'000'000L);
  const timespec pause = {0, ns};
  ::nanosleep(&pause, nullptr);
}

absl::Status not_stopped(pid_t tid) {
  const absl::StatusOr<procfs::Stat> stat = procfs::read_stat(tid, tid);
  const std::string state = stat.ok() ? std::string(1, stat->state) : "unknown";
  return absl::DeadlineExceededError(absl::StrCat(
      "tid ", tid, " did not stop within the limit; state ", state,
      state == "D" ? " (uninterruptible sleep: a parent in vfork(2), or I/O that does not come back)" : ""));
}

}  // namespace

absl::StatusOr<Thread> Thread::seize(pid_t tid, unsigned options) {
  options |= PTRACE_O_TRACESYSGOOD;
  if (ptrace_raw(PTRACE_SEIZE, tid, 0, options) != 0) return refused_attach(tid, errno);
  return Thread(tid, options);
}

Thread Thread::adopt(pid_t tid, unsigned options) { return Thread(tid, options); }

Thread::Thread(Thread&& other) noexcept
    : tid_(std::exchange(other.tid_, 0)),
      options_(other.options_),
      stopped_(other.stopped_),
      group_stopped_(other.group_stopped_) {}

Thread& Thread::operator=(Thread&& other) noexcept {
  if (this == &other) return *this;
  detach().IgnoreError();
  tid_ = std::exchange(other.tid_, 0);
  options_ = other.options_;
  stopped_ = other.stopped_;
  group_stopped_ = other.group_stopped_;
  return *this;
}

Thread::~Thread() { detach().IgnoreError(); }

absl::Status Thread::interrupt() {
  if (ptrace_raw(PTRACE_INTERRUPT, tid_, 0, 0) != 0) return ptrace_error("PTRACE_INTERRUPT", tid_);
  return absl::OkStatus();
}

absl::StatusOr<Thread::Stop> Thread::wait_stop(absl::Time deadline) {
  for (int round = 0;; ++round) {
    siginfo_t info{};
    // Without WEXITED the exit status is not taken, and ECHILD means that the task is dead, a zombie leader included.
    if (::waitid(P_PID, static_cast<id_t>(tid_), &info, WSTOPPED | WNOHANG | __WALL) != 0) {
      if (errno == EINTR) continue;
      if (errno != ECHILD) return errno_status(errno, absl::StrCat("waitid for tid ", tid_));
      reap(tid_);
      return absl::NotFoundError(absl::StrCat("tid ", tid_, " has ended"));
    }
    if (info.si_pid != 0) {
      stopped_ = true;
      constexpr int kSyscallFlag = 0x80;  // PTRACE_O_TRACESYSGOOD
      const int signal = info.si_status & 0xff;
      return Stop{signal & ~kSyscallFlag, info.si_status >> 8, (signal & kSyscallFlag) != 0};
    }
    constexpr int kRoundsBetweenClocks = 16;
    if (round % kRoundsBetweenClocks == 0 && absl::Now() >= deadline) return not_stopped(tid_);
    back_off(round);
  }
}

absl::Status Thread::wait_stopped(absl::Time deadline) {
  while (!stopped_) {
    ASSIGN_OR_RETURN(const Stop stop, wait_stop(deadline));
    if (stop.event == kPtraceEventStop) {
      group_stopped_ = stop.signal != SIGTRAP;
      return reissue_call();
    }
    // Any stop uses up a pending interrupt, so it is given again before the thread moves on.
    RETURN_IF_ERROR(interrupt());
    const bool signal_delivery = stop.event == 0 && !stop.syscall;
    RETURN_IF_ERROR(resume(signal_delivery ? stop.signal : 0));
  }
  return absl::OkStatus();
}

absl::Status Thread::wait_group_stopped(absl::Time deadline) {
  for (;;) {
    ASSIGN_OR_RETURN(const Stop stop, wait_stop(deadline));
    group_stopped_ = stop.event == kPtraceEventStop && stop.signal != SIGTRAP;
    if (group_stopped_) return absl::OkStatus();
    RETURN_IF_ERROR(resume(stop.event == 0 && !stop.syscall ? stop.signal : 0));
  }
}

// Trap 7: a call that the stop made return EINTR is made again when the thread goes on.
absl::Status Thread::reissue_call() const {
  absl::StatusOr<GeneralRegisters> stopped_in = registers();
  if (absl::IsUnimplemented(stopped_in.status())) return absl::OkStatus();  // 32-bit code: left as it is
  RETURN_IF_ERROR(stopped_in.status());
  return reissue_interrupted_call(*stopped_in) ? set_registers(*stopped_in) : absl::OkStatus();
}

absl::Status Thread::set_options(unsigned options) {
  options |= PTRACE_O_TRACESYSGOOD;
  if (ptrace_raw(PTRACE_SETOPTIONS, tid_, 0, options) != 0) return ptrace_error("PTRACE_SETOPTIONS", tid_);
  options_ = options;
  return absl::OkStatus();
}

absl::Status Thread::restart_with(int request, const char* name, int signal) {
  if (ptrace_raw(request, tid_, 0, static_cast<uintptr_t>(signal)) != 0) return ptrace_error(name, tid_);
  stopped_ = false;
  return absl::OkStatus();
}

absl::Status Thread::resume(int signal) { return restart_with(PTRACE_CONT, "PTRACE_CONT", signal); }

absl::Status Thread::resume_to_syscall_stop(int signal) {
  return restart_with(PTRACE_SYSCALL, "PTRACE_SYSCALL", signal);
}

absl::Status Thread::detach() {
  if (tid_ == 0) return absl::OkStatus();
  if (!stopped_) {
    absl::Status stopped = interrupt();
    if (stopped.ok()) stopped = wait_stopped(absl::Now() + kDetachLimit);
    if (absl::IsDeadlineExceeded(stopped)) remember_straggler(tid_);
    if (!stopped.ok()) {
      reap(std::exchange(tid_, 0));
      return stopped;
    }
  }
  const pid_t tid = std::exchange(tid_, 0);
  stopped_ = false;
  if (ptrace_raw(PTRACE_DETACH, tid, 0, 0) == 0) return absl::OkStatus();
  absl::Status error = ptrace_error("PTRACE_DETACH", tid);
  reap(tid);  // ESRCH: killed while it was stopped
  return error;
}

absl::StatusOr<GeneralRegisters> Thread::registers() const {
  GeneralRegisters registers{};
  iovec vector = {&registers, sizeof registers};
  if (ptrace_raw(PTRACE_GETREGSET, tid_, NT_PRSTATUS, pointer_bits(&vector)) != 0) {
    return ptrace_error("PTRACE_GETREGSET, NT_PRSTATUS", tid_);
  }
  if (vector.iov_len != sizeof registers) {
    return absl::UnimplementedError(absl::StrCat("tid ", tid_, " runs 32-bit code: its registers are not x86-64's"));
  }
  return registers;
}

absl::Status Thread::set_registers(const GeneralRegisters& registers) const {
  GeneralRegisters copy = registers;
  iovec vector = {&copy, sizeof copy};
  if (ptrace_raw(PTRACE_SETREGSET, tid_, NT_PRSTATUS, pointer_bits(&vector)) != 0) {
    return ptrace_error("PTRACE_SETREGSET, NT_PRSTATUS", tid_);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Thread::extended_registers() const {
  std::string state(size_t{16} << 10, '\0');
  for (;;) {
    iovec vector = {state.data(), state.size()};
    if (ptrace_raw(PTRACE_GETREGSET, tid_, NT_X86_XSTATE, pointer_bits(&vector)) != 0) {
      return ptrace_error("PTRACE_GETREGSET, NT_X86_XSTATE", tid_);
    }
    if (vector.iov_len < state.size()) {
      state.resize(vector.iov_len);
      return state;
    }
    if (state.size() >= kMaxXstateSize) {
      return absl::InternalError(absl::StrCat("the extended registers of tid ", tid_, " do not end"));
    }
    state.resize(2 * state.size());
  }
}

absl::Status Thread::set_extended_registers(absl::string_view state) const {
  std::string copy(state);
  iovec vector = {copy.data(), copy.size()};
  if (ptrace_raw(PTRACE_SETREGSET, tid_, NT_X86_XSTATE, pointer_bits(&vector)) != 0) {
    return ptrace_error("PTRACE_SETREGSET, NT_X86_XSTATE", tid_);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Thread::signal_mask() const {
  uint64_t mask = 0;
  if (ptrace_raw(PTRACE_GETSIGMASK, tid_, kKernelSigsetSize, pointer_bits(&mask)) != 0) {
    return ptrace_error("PTRACE_GETSIGMASK", tid_);
  }
  return mask;
}

absl::Status Thread::set_signal_mask(uint64_t mask) const {
  if (ptrace_raw(PTRACE_SETSIGMASK, tid_, kKernelSigsetSize, pointer_bits(&mask)) != 0) {
    return ptrace_error("PTRACE_SETSIGMASK", tid_);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Thread::pending_signals(bool shared) const {
  constexpr int kBatch = 32;
  constexpr uint32_t kShared = 1;  // PTRACE_PEEKSIGINFO_SHARED
  struct {
    uint64_t offset;
    uint32_t flags;
    int32_t count;
  } arguments = {0, shared ? kShared : 0, kBatch};
  std::vector<std::string> signals;
  for (;;) {
    alignas(8) char batch[kBatch * kKernelSiginfoSize] = {};
    const long count = ptrace_raw(PTRACE_PEEKSIGINFO, tid_, pointer_bits(&arguments), pointer_bits(batch));
    if (count < 0) return ptrace_error("PTRACE_PEEKSIGINFO", tid_);
    for (long i = 0; i < count; ++i) {
      signals.emplace_back(batch + static_cast<size_t>(i) * kKernelSiginfoSize, kKernelSiginfoSize);
    }
    if (count < kBatch) return signals;
    arguments.offset += static_cast<uint64_t>(count);
  }
}

absl::StatusOr<RseqConfiguration> Thread::rseq() const {
  struct {
    uint64_t address;
    uint32_t size, signature, flags, pad;
  } configuration = {};
  if (ptrace_raw(kPtraceGetRseqConfiguration, tid_, sizeof configuration, pointer_bits(&configuration)) < 0) {
    if (errno == EIO || errno == EINVAL) return RseqConfiguration{};  // a kernel without rseq(2): none registered
    return ptrace_error("PTRACE_GET_RSEQ_CONFIGURATION", tid_);
  }
  return RseqConfiguration{configuration.address, configuration.size, configuration.signature, configuration.flags};
}

absl::StatusOr<bool> Thread::syscall_user_dispatch() const {
  struct {
    uint64_t mode, selector, offset, length;
  } configuration = {};
  if (ptrace_raw(kPtraceGetSyscallUserDispatch, tid_, sizeof configuration, pointer_bits(&configuration)) != 0) {
    if (errno == EIO || errno == EINVAL) return false;
    return ptrace_error("PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG", tid_);
  }
  return configuration.mode != 0;
}

absl::StatusOr<uint64_t> Thread::event_message() const {
  unsigned long message = 0;
  if (ptrace_raw(PTRACE_GETEVENTMSG, tid_, 0, pointer_bits(&message)) != 0) {
    return ptrace_error("PTRACE_GETEVENTMSG", tid_);
  }
  return message;
}

}  // namespace stillpoint
