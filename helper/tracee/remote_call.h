// System calls made by a stopped thread on the helper's behalf.
#ifndef STILLPOINT_HELPER_TRACEE_REMOTE_CALL_H_
#define STILLPOINT_HELPER_TRACEE_REMOTE_CALL_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/procfs/process_files.h"
#include "helper/tracee/thread.h"

namespace stillpoint {

// Addresses in the tracee's executable memory that remote calls go through.
struct CodeGadgets {
  uint64_t syscall_ret = 0;   // "syscall; ret" (0f 05 c3)
  uint64_t rt_sigreturn = 0;  // "mov $15, %eax|%rax; syscall": the C library's signal restorer
};
// Scans executable mappings, [vdso] first for syscall_ret. FAILED_PRECONDITION when one of them is nowhere.
absl::StatusOr<CodeGadgets> find_gadgets(pid_t pid, const std::vector<procfs::Mapping>& maps);

// While the object lives the thread may make remote calls; destroying it puts registers and signal mask back.
//
// Survives the helper (trap 1 of the design): before the first register is changed a complete rt_sigframe with the
// thread's context (general and extended registers, signal mask) is written below the red zone, and every call
// returns into the rt_sigreturn stub: a thread orphaned inside a call restores itself. A system call it was stopped
// in with a restart code is saved in that frame as one to be re-issued. The memory that frame and scratch take is put
// back as it was at the end. A thread inside a restartable sequence (rseq) is moved to the sequence's abort handler, as
// the kernel itself does with every thread it takes off its processor there (trap 6).
//
// begin() refuses with FAILED_PRECONDITION, before anything is changed: threads whose stack has no room, with seccomp
// where it cannot be suspended (CAP_SYS_ADMIN), with syscall user dispatch, a shadow stack, or 32-bit code.
class RemoteCalls {
 public:
  // `thread` must be stopped (PTRACE_EVENT_STOP) and outlive the object.
  static absl::StatusOr<RemoteCalls> begin(Thread& thread, pid_t pid, const CodeGadgets& gadgets);
  RemoteCalls(RemoteCalls&&) noexcept;
  ~RemoteCalls();

  // The raw result: -errno on failure. The Status speaks of the mechanism only (the thread died, ...). After a clone
  // under PTRACE_O_TRACECLONE the new task's tid is in last_child().
  absl::StatusOr<int64_t> call(long number, std::initializer_list<uint64_t> arguments = {});
  // As call(), with the failure turned into a Status "name(...) in tid N: EPERM (...)".
  absl::StatusOr<uint64_t> checked_call(absl::string_view name, long number, std::initializer_list<uint64_t> arguments);
  // PTRACE_GETEVENTMSG of the last PTRACE_EVENT_CLONE/FORK/VFORK stop seen inside call(); 0: none.
  pid_t last_child() const;

  // Scratch memory in the tracee (on its stack, below the saved frame), for structures passed by pointer. 64-byte
  // aligned.
  uint64_t scratch() const;
  static constexpr size_t kScratchSize = 4096;

  // The stack pointer a child cloned by call() should start with, so that it exits (exit_group) by itself if the
  // helper dies before it takes the child over (trap 2): `ret` leads into the rt_sigreturn stub and a frame that
  // calls exit_group. Valid until the object goes.
  absl::StatusOr<uint64_t> exiting_child_stack();

  // Clones a task that shares memory and fd table (CLONE_VM, CLONE_FILES), has no exit signal and exits by itself when
  // it is let go; its pid. It is traced and about to stop, under PTRACE_O_TRACEVFORK, which must be set. This thread
  // stands still inside its clone until finish_intermediate(), which ends the clone and waits for the task, to be
  // called when it has been let go. If the helper dies before, both happen by themselves: no zombie is left, and this
  // thread's stack, which the task uses too, is not touched before the task has ended (CLONE_VFORK).
  absl::StatusOr<pid_t> start_intermediate();
  absl::Status finish_intermediate();

  // What the thread's memory at borrowed_address() held and will hold again: a child forked meanwhile has frame and
  // scratch there instead.
  uint64_t borrowed_address() const;
  const std::string& borrowed_bytes() const;

  const GeneralRegisters& saved_registers() const;
  // Puts registers and mask back now, with errors reported.
  absl::Status end();

 private:
  struct State;
  explicit RemoteCalls(State* state) : state_(state) {}
  State* state_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_TRACEE_REMOTE_CALL_H_
