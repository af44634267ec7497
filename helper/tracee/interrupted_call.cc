#include "helper/tracee/interrupted_call.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace stillpoint {
namespace {

// Linux: include/linux/errno.h. Never seen by programs.
constexpr int64_t kErestartsys = 512;
constexpr int64_t kErestartnointr = 513;
constexpr int64_t kErestartnohand = 514;
constexpr int64_t kErestartRestartblock = 516;
constexpr uint64_t kSyscallInstructionSize = 2;  // also int $0x80
constexpr uint64_t kUserCodeSegment64 = 0x33;
constexpr long kEpollPwait2 = 441;

bool in_call(const GeneralRegisters& registers) { return static_cast<int64_t>(registers.orig_rax) >= 0; }
int64_t result_of(const GeneralRegisters& registers) { return static_cast<int64_t>(registers.rax); }

// EINTR from these means that nothing has been done yet.
bool may_be_made_again(uint64_t number) {
  switch (number) {
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case kEpollPwait2:
    case SYS_semop:
    case SYS_semtimedop:
    case SYS_io_getevents:
    case SYS_rt_sigtimedwait:
    case SYS_io_uring_enter:
    case SYS_fallocate:
    case SYS_accept:
    case SYS_accept4:
    case SYS_connect:
    case SYS_sendto:
    case SYS_recvfrom:
    case SYS_sendmsg:
    case SYS_recvmsg:
    case SYS_sendmmsg:
    case SYS_recvmmsg:
    case SYS_read:
    case SYS_write:
    case SYS_readv:
    case SYS_writev:
    case SYS_preadv2:
    case SYS_pwritev2:
    case SYS_sendfile:
    case SYS_splice:
    case SYS_tee:
    case SYS_vmsplice:
      return true;
    default:
      return false;
  }
}

bool uses_restart_block(uint32_t number) {
  return number == SYS_poll || number == SYS_nanosleep || number == SYS_clock_nanosleep || number == SYS_futex;
}

// The immediate operand of "mov $number, %eax" between `begin` and the system call instruction at rip, -1 when there is
// none for a call that uses the restart block. C libraries load the number there.
int64_t number_in_code(pid_t tid, uint64_t rip) {
  constexpr uint64_t kWindow = 48;
  constexpr unsigned char kMovEax = 0xb8;
  if (tid == 0 || rip < kWindow + kSyscallInstructionSize) return -1;
  unsigned char code[kWindow];
  const iovec local = {code, sizeof code};
  const iovec remote = {reinterpret_cast<void*>(rip - kSyscallInstructionSize - kWindow), sizeof code};
  if (::process_vm_readv(tid, &local, 1, &remote, 1, 0) != static_cast<ssize_t>(sizeof code)) return -1;
  for (size_t i = kWindow - 5 + 1; i-- > 0;) {
    if (code[i] != kMovEax) continue;
    uint32_t number = 0;
    std::memcpy(&number, code + i + 1, sizeof number);
    if (uses_restart_block(number)) return number;
  }
  return -1;
}

template <typename T>
bool read_at(pid_t tid, uint64_t address, T* values, size_t count) {
  const iovec local = {values, count * sizeof(T)};
  const iovec remote = {reinterpret_cast<void*>(address), count * sizeof(T)};
  return tid != 0 && ::process_vm_readv(tid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(count * sizeof(T));
}

bool holds_time(pid_t tid, uint64_t address) {
  constexpr long kNsPerSecond = 1'000'000'000;
  timespec time{};
  return read_at(tid, address, &time, 1) && time.tv_sec >= 0 && time.tv_nsec >= 0 && time.tv_nsec < kNsPerSecond;
}

bool holds_poll_entries(pid_t tid, uint64_t address, uint64_t count) {
  constexpr uint64_t kEnoughToTell = 64;
  constexpr int kEventMask = 0x7fff;
  pollfd entries[kEnoughToTell];
  const uint64_t looked_at = std::min(count, kEnoughToTell);
  if (count > (uint64_t{1} << 24)) return false;
  if (looked_at == 0) return true;
  if (!read_at(tid, address, entries, looked_at)) return false;
  return std::all_of(entries, entries + looked_at, [](const pollfd& entry) {
    return entry.fd < (1 << 24) && (entry.events & ~kEventMask) == 0 && (entry.revents & ~kEventMask) == 0;
  });
}

// Zeroed memory looks like poll entries too; those that ask for something are hardly anything else.
bool asks_for_events(pid_t tid, uint64_t address, uint64_t count) {
  pollfd first{};
  return count > 0 && read_at(tid, address, &first, 1) && first.events != 0;
}

// Whether argument registers, and the memory they point to, can be those of a call that has entered its restart block.
bool plausible(uint32_t number, const GeneralRegisters& registers, pid_t tid) {
  switch (number) {
    case SYS_nanosleep: {
      timespec remaining;
      return holds_time(tid, registers.rdi) && (registers.rsi == 0 || read_at(tid, registers.rsi, &remaining, 1));
    }
    case SYS_clock_nanosleep:
      return (registers.rsi & TIMER_ABSTIME) == 0 && static_cast<int64_t>(registers.rdi) < 4096 &&
             holds_time(tid, registers.rdx);
    case SYS_futex: {
      constexpr uint64_t kPrivate = 128, kRealtime = 256, kWait = 0, kWaitBitset = 9;
      const uint64_t operation = registers.rsi & ~(kPrivate | kRealtime);
      uint32_t word;
      return (operation == kWait || operation == kWaitBitset) && registers.rdi % sizeof word == 0 &&
             read_at(tid, registers.rdi, &word, 1) && holds_time(tid, registers.r10);
    }
    case SYS_poll:
      return holds_poll_entries(tid, registers.rdi, registers.rsi);
    default:
      return false;
  }
}

// What restart_syscall(2) continues: its own number has taken the place of the call's in the registers. The code tells,
// where a C library's wrapper made the call; else the arguments, if they fit one call only. -1: nothing tells.
int64_t continued_number(const GeneralRegisters& registers, pid_t tid) {
  constexpr uint32_t kCandidates[] = {SYS_poll, SYS_nanosleep, SYS_clock_nanosleep, SYS_futex};
  const int64_t in_code = number_in_code(tid, registers.rip);
  if (in_code >= 0 && plausible(static_cast<uint32_t>(in_code), registers, tid)) return in_code;
  int64_t found = -1;
  for (const uint32_t candidate : kCandidates) {
    if (!plausible(candidate, registers, tid)) continue;
    if (candidate == SYS_poll && !asks_for_events(tid, registers.rdi, registers.rsi)) continue;
    if (found >= 0) return -1;
    found = candidate;
  }
  return found;
}

void make_again(GeneralRegisters& registers, uint64_t number) {
  registers.rip -= kSyscallInstructionSize;
  registers.rax = number;
  registers.orig_rax = ~uint64_t{0};
}

void fail_with_eintr(GeneralRegisters& registers) {
  registers.rax = static_cast<uint64_t>(-int64_t{EINTR});
  registers.orig_rax = ~uint64_t{0};
}

// The argument registers survive a system call, but no C library uses the request pointer after the call.
void use_remaining_time(GeneralRegisters& registers) {
  if (registers.rax == SYS_nanosleep && registers.rsi != 0) registers.rdi = registers.rsi;
  if (registers.rax == SYS_clock_nanosleep && (registers.rsi & TIMER_ABSTIME) == 0 && registers.r10 != 0) {
    registers.rdx = registers.r10;
  }
}

}  // namespace

bool in_restartable_call(const GeneralRegisters& registers) {
  if (!in_call(registers)) return false;
  const int64_t error = -result_of(registers);
  return error == kErestartsys || error == kErestartnointr || error == kErestartnohand ||
         error == kErestartRestartblock;
}

bool reissue_interrupted_call(GeneralRegisters& registers) {
  if (registers.cs != kUserCodeSegment64 || !in_call(registers)) return false;
  if (result_of(registers) != -EINTR || !may_be_made_again(registers.orig_rax)) return false;
  registers.rax = static_cast<uint64_t>(-kErestartnohand);
  return true;
}

absl::Status prepare_for_new_task(GeneralRegisters& registers, pid_t tid, bool handler_pending) {
  if (!in_restartable_call(registers)) return absl::OkStatus();
  if (registers.cs != kUserCodeSegment64) {
    return absl::UnimplementedError("a system call of 32-bit code was interrupted: its number is not x86-64's");
  }
  const int64_t error = -result_of(registers);
  const bool no_handler_wanted = error == kErestartnohand || error == kErestartRestartblock;
  if (handler_pending && no_handler_wanted) {
    fail_with_eintr(registers);
    return absl::OkStatus();
  }
  int64_t number = static_cast<int64_t>(registers.orig_rax);
  if (error == kErestartRestartblock && number == SYS_restart_syscall) {
    number = continued_number(registers, tid);
    if (number < 0) {
      fail_with_eintr(registers);
      return absl::OkStatus();
    }
  }
  make_again(registers, static_cast<uint64_t>(number));
  if (error == kErestartRestartblock) use_remaining_time(registers);
  return absl::OkStatus();
}

}  // namespace stillpoint
