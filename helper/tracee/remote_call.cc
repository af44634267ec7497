#include "helper/tracee/remote_call.h"

#include <linux/rseq.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/tracee/interrupted_call.h"
#include "helper/tracee/signal_frame.h"
#include "helper/tracee/stack_loan.h"

namespace stillpoint {
namespace {

constexpr unsigned kSuspendSeccomp = 1u << 21;  // PTRACE_O_SUSPEND_SECCOMP
constexpr uint64_t kUserCodeSegment64 = 0x33;
constexpr uint64_t kPlainFlags = 0x202;         // interrupts on, no trap, direction up
constexpr uint64_t kAllSignals = ~uint64_t{0};  // the kernel leaves SIGKILL and SIGSTOP out
constexpr uint64_t kNotInCall = ~uint64_t{0};   // orig_rax
constexpr uint64_t kRedZone = 128;
constexpr absl::Duration kCallLimit = absl::Seconds(60);
constexpr absl::Duration kStopLimit = absl::Seconds(10);
constexpr size_t kMaxArguments = 6;

// Where things lie below the red zone, from high to low: extended state, frame, the frame that waits for an
// intermediate task, scratch, the frame for a child, which uses what is below as its stack.
struct Layout {
  uint64_t high = 0, extended_state = 0, frame = 0, wait_frame = 0, scratch = 0, child_frame = 0;
};

// As the kernel places a frame: on entry to a handler rsp + 8 is a multiple of 16.
uint64_t frame_below(uint64_t address) { return ((address - kSignalFrameSize) & ~uint64_t{15}) - 8; }

Layout lay_out(uint64_t stack_pointer, size_t extended_state_size) {
  Layout layout;
  layout.high = stack_pointer - kRedZone;
  layout.extended_state = (layout.high - extended_state_size) & ~uint64_t{63};
  layout.frame = frame_below(layout.extended_state);
  layout.wait_frame = frame_below(layout.frame);
  layout.scratch = (layout.wait_frame - RemoteCalls::kScratchSize) & ~uint64_t{63};
  layout.child_frame = frame_below(layout.scratch);
  return layout;
}

absl::Status refuse(pid_t tid, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat("no system call can be made in tid ", tid, ": ", why));
}

// Trap 5 and its like: what would kill the thread, or signal it, for a call it did not make itself. True when there is
// a seccomp filter, to be suspended.
absl::StatusOr<bool> check_callable(const Thread& thread, pid_t pid, const GeneralRegisters& registers) {
  const pid_t tid = thread.tid();
  if (registers.cs != kUserCodeSegment64) return refuse(tid, "it runs 32-bit code");
  ASSIGN_OR_RETURN(const procfs::TaskStatus status, procfs::read_status(pid, tid));
  if (absl::StrContains(status.x86_thread_features, "shstk")) return refuse(tid, "it has a shadow stack");
  ASSIGN_OR_RETURN(const bool dispatch, thread.syscall_user_dispatch());
  if (dispatch) return refuse(tid, "it uses syscall user dispatch");
  return status.seccomp != 0;
}

// Trap 6. The kernel aborts a sequence whose thread is preempted; it looks at rseq_cs when the thread returns to user
// mode, finds the remote call's rip outside and clears it. So the abort is done here, as the kernel would do it. A
// descriptor that the kernel would not accept is left to it.
absl::Status leave_restartable_sequence(const Thread& thread, pid_t pid, GeneralRegisters& registers) {
  ASSIGN_OR_RETURN(const RseqConfiguration rseq, thread.rseq());
  if (rseq.address == 0) return absl::OkStatus();
  constexpr uint64_t kDescriptorOffset = 8;  // struct rseq: cpu_id_start, cpu_id, rseq_cs
  uint64_t descriptor = 0;
  if (!read_memory(pid, rseq.address + kDescriptorOffset, &descriptor, sizeof descriptor).ok()) return absl::OkStatus();
  if (descriptor == 0) return absl::OkStatus();
  ::rseq_cs section{};
  uint32_t signature = 0;
  if (!read_memory(pid, descriptor, &section, sizeof section).ok()) return absl::OkStatus();
  if (registers.rip - section.start_ip >= section.post_commit_offset) return absl::OkStatus();
  if (section.abort_ip - section.start_ip < section.post_commit_offset) return absl::OkStatus();
  if (!read_memory(pid, section.abort_ip - sizeof signature, &signature, sizeof signature).ok() ||
      signature != rseq.signature) {
    return refuse(thread.tid(), "its restartable sequence has no valid abort handler");
  }
  registers.rip = section.abort_ip;
  return absl::OkStatus();
}

bool is_restart_code(int64_t result) { return result <= -512 && result >= -516; }

bool is_fault(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE || signal == SIGTRAP ||
         signal == SIGSYS;
}

}  // namespace

struct RemoteCalls::State {
  Thread* thread = nullptr;
  pid_t pid = 0;
  CodeGadgets gadgets;
  GeneralRegisters saved{};
  uint64_t saved_mask = 0;
  unsigned saved_options = 0;
  Layout layout;
  StackLoan loan;
  pid_t last_child = 0;
  bool active = false;    // registers are changed
  bool called = false;    // the thread has left its PTRACE_EVENT_STOP
  bool in_clone = false;  // it stands in the middle of start_intermediate()'s clone

  absl::Status prepare();
  absl::Status write_frames();
  absl::Status enter();
  absl::Status set_call(long number, const uint64_t (&arguments)[kMaxArguments], uint64_t return_frame);
  absl::StatusOr<int64_t> run(long number, bool inside = false, bool to_child = false);
  absl::Status write_wait_frame();
  absl::StatusOr<int> note_stop(const Thread::Stop& stop);
  absl::Status stop_again();
  absl::Status leave();

  GeneralRegisters idle_registers() const {
    // On the way into the rt_sigreturn stub, with the frame where it expects it.
    GeneralRegisters registers = saved;
    registers.rip = gadgets.rt_sigreturn;
    registers.rsp = layout.frame + sizeof(uint64_t);
    registers.eflags = kPlainFlags;
    registers.orig_rax = kNotInCall;
    registers.rax = 0;
    return registers;
  }
};

// Everything that can fail, before the thread is changed.
absl::Status RemoteCalls::State::prepare() {
  ASSIGN_OR_RETURN(saved, thread->registers());
  ASSIGN_OR_RETURN(const bool seccomp, check_callable(*thread, pid, saved));
  ASSIGN_OR_RETURN(saved_mask, thread->signal_mask());
  RETURN_IF_ERROR(leave_restartable_sequence(*thread, pid, saved));
  RETURN_IF_ERROR(write_frames());
  saved_options = thread->options();
  if (seccomp && !thread->set_options(saved_options | kSuspendSeccomp).ok()) {
    loan.give_back().IgnoreError();
    return refuse(thread->tid(), "it has a seccomp filter, and suspending that needs CAP_SYS_ADMIN");
  }
  return absl::OkStatus();
}

absl::Status RemoteCalls::State::write_frames() {
  ASSIGN_OR_RETURN(const std::string xstate, thread->extended_registers());
  ASSIGN_OR_RETURN(const std::string extended, make_frame_extended_state(xstate));
  layout = lay_out(saved.rsp, extended.size());
  ASSIGN_OR_RETURN(loan, StackLoan::take(thread->tid(), layout.child_frame, layout.high, saved.rsp));

  SignalFrameContext orphan;
  orphan.registers = saved;
  orphan.signal_mask = saved_mask;
  orphan.return_address = gadgets.rt_sigreturn;
  orphan.extended_state_address = layout.extended_state;
  RETURN_IF_ERROR(prepare_for_new_task(orphan.registers, thread->tid()));  // rt_sigreturn resets the restart_block

  SignalFrameContext child;
  child.registers = saved;
  child.registers.rip = gadgets.syscall_ret;
  child.registers.rsp = layout.child_frame;
  child.registers.eflags = kPlainFlags;
  child.registers.rax = SYS_exit_group;
  child.registers.rdi = 0;
  child.signal_mask = kAllSignals;
  child.return_address = gadgets.rt_sigreturn;

  RETURN_IF_ERROR(loan.write(extended, layout.extended_state));
  RETURN_IF_ERROR(loan.write(make_signal_frame(orphan), layout.frame));
  return loan.write(make_signal_frame(child), layout.child_frame);
}

// What an orphan comes through on its way out of start_intermediate()'s clone: wait4() for the task, whose pid the
// clone itself puts into the frame (CLONE_PARENT_SETTID), then the frame that holds the thread's own context.
absl::Status RemoteCalls::State::write_wait_frame() {
  constexpr uint64_t kNobody = 0x7fffffff;  // above any pid: what waits when there was no clone gets ECHILD
  SignalFrameContext wait;
  wait.registers = saved;
  wait.registers.rip = gadgets.syscall_ret;
  wait.registers.rsp = layout.frame;
  wait.registers.eflags = kPlainFlags;
  wait.registers.rax = SYS_wait4;
  wait.registers.rdi = kNobody;
  wait.registers.rsi = 0;
  wait.registers.rdx = __WALL;
  wait.registers.r10 = 0;
  wait.signal_mask = kAllSignals;
  wait.return_address = gadgets.rt_sigreturn;
  return loan.write(make_signal_frame(wait), layout.wait_frame);
}

// `return_frame`: what the orphan finds behind the call.
absl::Status RemoteCalls::State::set_call(long number, const uint64_t (&arguments)[kMaxArguments],
                                          uint64_t return_frame) {
  GeneralRegisters registers = saved;
  registers.rip = gadgets.syscall_ret;
  registers.rsp = return_frame;  // ret leads into the rt_sigreturn stub
  registers.eflags = kPlainFlags;
  registers.orig_rax = kNotInCall;
  registers.rax = static_cast<uint64_t>(number);
  registers.rdi = arguments[0];
  registers.rsi = arguments[1];
  registers.rdx = arguments[2];
  registers.r10 = arguments[3];
  registers.r8 = arguments[4];
  registers.r9 = arguments[5];
  last_child = 0;
  return thread->set_registers(registers);
}

// First the registers, then the mask: from the first change on an orphaned thread runs into its frame, which holds
// both.
absl::Status RemoteCalls::State::enter() {
  RETURN_IF_ERROR(thread->set_registers(idle_registers()));
  active = true;
  return thread->set_signal_mask(kAllSignals);
}

// A stop inside a call that is not a syscall-stop. The signal to deliver when the thread goes on, or an error.
absl::StatusOr<int> RemoteCalls::State::note_stop(const Thread::Stop& stop) {
  switch (stop.event) {
    case PTRACE_EVENT_CLONE:
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK: {
      ASSIGN_OR_RETURN(const uint64_t child, thread->event_message());
      last_child = static_cast<pid_t>(child);
      return 0;
    }
    case 0:
      // Of the others only SIGSTOP gets past the mask. It starts its group stop here, and lasts after detach.
      if (is_fault(stop.signal)) {
        return absl::InternalError(
            absl::StrCat("a remote call in tid ", thread->tid(), " raised signal ", stop.signal));
      }
      return stop.signal;
    default:
      return 0;  // PTRACE_EVENT_STOP: an interrupt given earlier, or a group stop that starts or ends
  }
}

// From wherever the thread is (`inside` the call already, or before it) through one call to its end, or only
// `to_child`: until it has made one, whose pid is the result.
absl::StatusOr<int64_t> RemoteCalls::State::run(long number, bool inside, bool to_child) {
  const absl::Time deadline = absl::Now() + kCallLimit;
  bool again = false;
  for (int signal = 0;;) {
    RETURN_IF_ERROR(thread->resume_to_syscall_stop(signal));
    called = true;
    ASSIGN_OR_RETURN(const Thread::Stop stop, thread->wait_stop(deadline));
    if (!stop.syscall) {
      ASSIGN_OR_RETURN(signal, note_stop(stop));
      if (to_child && last_child != 0) return last_child;
      continue;
    }
    signal = 0;
    inside = !inside;
    if (inside && !again) {
      die_if_stage("remote-call-entered");
      continue;
    }
    ASSIGN_OR_RETURN(GeneralRegisters registers, thread->registers());
    if (inside) {
      // A call interrupted by a group stop is made again by the kernel. If not, this is the rt_sigreturn behind it.
      const uint64_t entered = registers.orig_rax;
      if (entered == static_cast<uint64_t>(number) || entered == SYS_restart_syscall) continue;
      registers.orig_rax = kNotInCall;  // skips it
      RETURN_IF_ERROR(thread->set_registers(registers));
      return -EINTR;
    }
    die_if_stage("remote-call-done");
    const int64_t result = static_cast<int64_t>(registers.rax);
    if (!is_restart_code(result)) return result;
    again = true;
  }
}

// Back into a PTRACE_EVENT_STOP, where the kernel's restart of an interrupted call is still to come. Not one
// instruction runs on the way: the interrupt is honoured before the return to user mode.
absl::Status RemoteCalls::State::stop_again() {
  if (thread->stopped()) {
    RETURN_IF_ERROR(thread->set_registers(idle_registers()));
    RETURN_IF_ERROR(thread->interrupt());
    RETURN_IF_ERROR(thread->resume());
  } else {
    RETURN_IF_ERROR(thread->interrupt());
  }
  RETURN_IF_ERROR(thread->wait_stopped(absl::Now() + kStopLimit));
  called = false;
  return absl::OkStatus();
}

// The order of enter(), reversed; memory last, since the frame is in it.
absl::Status RemoteCalls::State::leave() {
  if (!active) return absl::OkStatus();
  active = false;
  if (called) RETURN_IF_ERROR(stop_again());
  RETURN_IF_ERROR(thread->set_signal_mask(saved_mask));
  RETURN_IF_ERROR(thread->set_registers(saved));
  RETURN_IF_ERROR(loan.give_back());
  if (thread->options() != saved_options) return thread->set_options(saved_options);
  return absl::OkStatus();
}

absl::StatusOr<RemoteCalls> RemoteCalls::begin(Thread& thread, pid_t pid, const CodeGadgets& gadgets) {
  if (!thread.stopped()) return refuse(thread.tid(), "it is not stopped");
  auto state = std::make_unique<State>();
  state->thread = &thread;
  state->pid = pid;
  state->gadgets = gadgets;
  RETURN_IF_ERROR(state->prepare());
  RemoteCalls calls(state.release());
  RETURN_IF_ERROR(calls.state_->enter());
  return calls;
}

RemoteCalls::RemoteCalls(RemoteCalls&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

RemoteCalls::~RemoteCalls() {
  end().IgnoreError();
  delete state_;
}

absl::Status RemoteCalls::end() { return state_ == nullptr ? absl::OkStatus() : state_->leave(); }

absl::StatusOr<int64_t> RemoteCalls::call(long number, std::initializer_list<uint64_t> arguments) {
  if (state_ == nullptr || !state_->active) return absl::FailedPreconditionError("remote calls have ended");
  if (state_->in_clone) return absl::FailedPreconditionError("an intermediate task is not finished");
  if (arguments.size() > kMaxArguments) return absl::InvalidArgumentError("a system call has six arguments at most");
  uint64_t values[kMaxArguments] = {};
  std::copy(arguments.begin(), arguments.end(), values);

  State& state = *state_;
  if (state.called && !state.thread->stopped()) RETURN_IF_ERROR(state.stop_again());  // the last call timed out
  RETURN_IF_ERROR(state.set_call(number, values, state.layout.frame));
  return state.run(number);
}

absl::StatusOr<uint64_t> RemoteCalls::checked_call(absl::string_view name, long number,
                                                   std::initializer_list<uint64_t> arguments) {
  ASSIGN_OR_RETURN(const int64_t result, call(number, arguments));
  constexpr int64_t kMaxErrno = 4095;
  if (result < 0 && result >= -kMaxErrno) {
    return errno_status(static_cast<int>(-result), absl::StrCat(name, "(...) in tid ", state_->thread->tid()));
  }
  return static_cast<uint64_t>(result);
}

pid_t RemoteCalls::last_child() const { return state_->last_child; }
uint64_t RemoteCalls::scratch() const { return state_->layout.scratch; }
uint64_t RemoteCalls::borrowed_address() const { return state_->loan.address(); }
const std::string& RemoteCalls::borrowed_bytes() const { return state_->loan.original(); }
const GeneralRegisters& RemoteCalls::saved_registers() const { return state_->saved; }

absl::StatusOr<pid_t> RemoteCalls::start_intermediate() {
  State& state = *state_;
  if (!state.active) return absl::FailedPreconditionError("remote calls have ended");
  RETURN_IF_ERROR(state.write_wait_frame());
  const uint64_t arguments[kMaxArguments] = {CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_PARENT_SETTID,
                                             state.layout.child_frame, state.layout.wait_frame + kSignalFrameRdi};
  RETURN_IF_ERROR(state.set_call(SYS_clone, arguments, state.layout.wait_frame));
  ASSIGN_OR_RETURN(const int64_t result, state.run(SYS_clone, /*inside=*/false, /*to_child=*/true));
  if (result < 0) {
    return errno_status(static_cast<int>(-result), absl::StrCat("clone(...) in tid ", state.thread->tid()));
  }
  state.in_clone = true;
  return static_cast<pid_t>(result);
}

absl::Status RemoteCalls::finish_intermediate() {
  State& state = *state_;
  if (!state.in_clone) return absl::FailedPreconditionError("there is no intermediate task");
  state.in_clone = false;
  ASSIGN_OR_RETURN(const int64_t pid, state.run(SYS_clone, /*inside=*/true));
  return checked_call("wait4", SYS_wait4, {static_cast<uint64_t>(pid), 0, __WALL, 0}).status();
}

absl::StatusOr<uint64_t> RemoteCalls::exiting_child_stack() {
  if (!state_->active) return absl::FailedPreconditionError("remote calls have ended");
  return state_->layout.child_frame;
}

}  // namespace stillpoint
