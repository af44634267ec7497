// One seized thread. With frozen_process.h and remote_call.h the only code that calls ptrace(2).
//
// Nothing here sets PTRACE_O_EXITKILL unless asked: when the helper dies, the
// kernel detaches and the thread runs on. ptrace(2) belongs to the thread that
// seized: every object of this room is used by one thread of the helper.
#ifndef STILLPOINT_HELPER_TRACEE_THREAD_H_
#define STILLPOINT_HELPER_TRACEE_THREAD_H_

#include <sys/types.h>
#include <sys/user.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace stillpoint {

using GeneralRegisters = user_regs_struct;

struct RseqConfiguration {
  uint64_t address = 0;  // 0: none registered
  uint32_t size = 0, signature = 0, flags = 0;
};

class Thread {
 public:
  // A ptrace-stop as waitid(2) reports it.
  struct Stop {
    int signal = 0;        // SIGTRAP for events; the signal itself in a signal-delivery-stop
    int event = 0;         // PTRACE_EVENT_*; 0: none
    bool syscall = false;  // syscall-enter-stop or syscall-exit-stop
  };

  // PTRACE_SEIZE with `options` (PTRACE_O_*; PTRACE_O_TRACESYSGOOD is always added). An error says why and what to
  // do about it (refused_attach.h).
  static absl::StatusOr<Thread> seize(pid_t tid, unsigned options = 0);
  // Takes over a thread that is being traced by us already (auto-attached by PTRACE_O_TRACECLONE and stopped or about
  // to stop). `options` are those it inherited from its creator.
  static Thread adopt(pid_t tid, unsigned options = 0);

  Thread(Thread&& other) noexcept;
  Thread& operator=(Thread&& other) noexcept;
  ~Thread();  // detach(), errors ignored: the thread may be gone

  pid_t tid() const { return tid_; }
  bool stopped() const { return stopped_; }
  // True when the thread was group-stopped (SIGSTOP, SIGTSTP) when it was interrupted; detach leaves it so.
  bool group_stopped() const { return group_stopped_; }
  unsigned options() const { return options_; }

  // PTRACE_INTERRUPT, without waiting.
  absl::Status interrupt();
  // Waits until the thread is in a PTRACE_EVENT_STOP, or died (NOT_FOUND). DEADLINE_EXCEEDED when it does not stop (D
  // state, vfork parent).
  //
  // The thread may have taken a signal between the seizure and the interrupt. It is delivered right there, with its own
  // siginfo, but under a new PTRACE_INTERRUPT, which the kernel honours before it returns to user mode: the handler's
  // frame is on the stack and not one instruction of the handler has run. Holding the signal back and queuing it again
  // would reorder real-time signals, and lose si_code for signals the kernel sent.
  //
  // A system call that the stop made return EINTR is set to be made again (interrupted_call.h).
  absl::Status wait_stopped(absl::Time deadline);
  // Waits until a stop signal that was sent has stopped the whole process.
  absl::Status wait_group_stopped(absl::Time deadline);
  // Waits for the next ptrace-stop of any kind and reports it.
  absl::StatusOr<Stop> wait_stop(absl::Time deadline);
  absl::Status set_options(unsigned options);
  absl::Status resume(int signal = 0);                  // PTRACE_CONT
  absl::Status resume_to_syscall_stop(int signal = 0);  // PTRACE_SYSCALL
  // PTRACE_DETACH; the thread goes on where it was. A thread that runs is stopped first, since the kernel detaches no
  // other; one that does not stop now is detached as soon as it does (stragglers.h), and DEADLINE_EXCEEDED returned.
  absl::Status detach();
  void forget() { tid_ = 0; }  // the thread is gone or somebody else's

  absl::StatusOr<GeneralRegisters> registers() const;
  absl::Status set_registers(const GeneralRegisters& registers) const;
  absl::StatusOr<std::string> extended_registers() const;  // NT_X86_XSTATE, whole
  absl::Status set_extended_registers(absl::string_view state) const;
  absl::StatusOr<uint64_t> signal_mask() const;  // PTRACE_GETSIGMASK
  absl::Status set_signal_mask(uint64_t mask) const;
  // PTRACE_PEEKSIGINFO: 128-byte siginfo each; shared: the process-wide queue.
  absl::StatusOr<std::vector<std::string>> pending_signals(bool shared) const;
  absl::StatusOr<RseqConfiguration> rseq() const;  // PTRACE_GET_RSEQ_CONFIGURATION
  // True when PR_SET_SYSCALL_USER_DISPATCH is on. Kernels before 6.4 do not tell: false.
  absl::StatusOr<bool> syscall_user_dispatch() const;
  absl::StatusOr<uint64_t> event_message() const;  // PTRACE_GETEVENTMSG

 private:
  Thread(pid_t tid, unsigned options) : tid_(tid), options_(options) {}
  absl::Status reissue_call() const;
  absl::Status restart_with(int request, const char* name, int signal);

  pid_t tid_ = 0;
  unsigned options_ = 0;
  bool stopped_ = false;
  bool group_stopped_ = false;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_TRACEE_THREAD_H_
