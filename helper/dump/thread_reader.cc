#include "helper/dump/thread_reader.h"

#include <linux/rseq.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/dump/attributes_reader.h"
#include "helper/procfs/process_files.h"
#include "helper/protocol/context.h"
#include "helper/tracee/interrupted_call.h"

namespace stillpoint {
namespace {

// Linux: include/uapi/linux/ioprio.h, prctl.h.
constexpr int kIoprioWhoProcess = 1;
constexpr int kPrGetTidAddress = 40;

template <typename T>
std::string bytes_of(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

void take_credentials(const procfs::TaskStatus& status, model::Thread& out) {
  out.set_name(status.name);
  out.set_no_new_privs(status.no_new_privs);
  model::Credentials& credentials = *out.mutable_credentials();
  credentials.set_uid(status.uid);
  credentials.set_euid(status.euid);
  credentials.set_suid(status.suid);
  credentials.set_fsuid(status.fsuid);
  credentials.set_gid(status.gid);
  credentials.set_egid(status.egid);
  credentials.set_sgid(status.sgid);
  credentials.set_fsgid(status.fsgid);
  for (const uint32_t group : status.groups) credentials.add_groups(group);
  credentials.set_inheritable(status.cap_inheritable);
  credentials.set_permitted(status.cap_permitted);
  credentials.set_effective(status.cap_effective);
  credentials.set_bounding(status.cap_bounding);
  credentials.set_ambient(status.cap_ambient);
}

absl::Status read_scheduling(pid_t tid, model::Thread& out) {
  SchedAttr attr;
  if (::syscall(SYS_sched_getattr, tid, &attr, sizeof attr, 0) < 0) {
    return errno_status(errno, absl::StrCat("sched_getattr of tid ", tid));
  }
  model::Scheduling& scheduling = *out.mutable_scheduling();
  scheduling.set_policy(attr.policy);
  scheduling.set_nice(attr.nice);
  scheduling.set_priority(attr.priority);
  scheduling.set_flags(attr.flags);
  scheduling.set_runtime_ns(attr.runtime);
  scheduling.set_deadline_ns(attr.deadline);
  scheduling.set_period_ns(attr.period);

  std::string mask(1024, '\0');  // 8192 CPUs, the kernel's maximum
  const long size = ::syscall(SYS_sched_getaffinity, tid, mask.size(), mask.data());
  if (size < 0) return errno_status(errno, absl::StrCat("sched_getaffinity of tid ", tid));
  mask.resize(static_cast<size_t>(size));
  out.set_affinity(mask);

  const long priority = ::syscall(SYS_ioprio_get, kIoprioWhoProcess, tid);
  if (priority < 0) return errno_status(errno, absl::StrCat("ioprio_get of tid ", tid));
  out.set_io_priority(static_cast<int32_t>(priority));
  return absl::OkStatus();
}

// Trap 6: inside a restartable sequence the image's rip is the sequence's abort handler.
absl::Status read_rseq(pid_t pid, const Thread& thread, GeneralRegisters& registers, model::Thread& out) {
  ASSIGN_OR_RETURN(const RseqConfiguration rseq, thread.rseq());
  if (rseq.address == 0) return absl::OkStatus();
  model::RestartableSequence& model_rseq = *out.mutable_rseq();
  model_rseq.set_address(rseq.address);
  model_rseq.set_size(rseq.size);
  model_rseq.set_signature(rseq.signature);
  model_rseq.set_flags(rseq.flags);

  uint64_t descriptor = 0;  // struct rseq: cpu_id_start, cpu_id, rseq_cs
  RETURN_IF_ERROR(read_memory(pid, rseq.address + 8, &descriptor, sizeof descriptor));
  if (descriptor == 0) return absl::OkStatus();
  ::rseq_cs section{};
  RETURN_IF_ERROR(read_memory(pid, descriptor, &section, sizeof section));
  if (registers.rip - section.start_ip < section.post_commit_offset) registers.rip = section.abort_ip;
  return absl::OkStatus();
}

}  // namespace

absl::Status read_thread(pid_t pid, const Thread& thread, model::Thread& out) {
  const pid_t tid = thread.tid();
  out.set_tid(tid);
  ASSIGN_OR_RETURN(GeneralRegisters registers, thread.registers());
  ASSIGN_OR_RETURN(std::string extended, thread.extended_registers());
  out.set_extended_registers(std::move(extended));
  ASSIGN_OR_RETURN(const uint64_t mask, thread.signal_mask());
  out.set_signal_mask(mask);
  RETURN_IF_ERROR(read_rseq(pid, thread, registers, out));
  out.set_general_registers(bytes_of(registers));
  ASSIGN_OR_RETURN(const procfs::TaskStatus status, procfs::read_status(pid, tid));

  uint64_t robust_list = 0;
  size_t robust_length = 0;
  if (::syscall(SYS_get_robust_list, tid, &robust_list, &robust_length) < 0) {
    return errno_status(errno, absl::StrCat("get_robust_list of tid ", tid));
  }
  out.set_robust_list(robust_list);
  out.set_robust_list_length(robust_length);
  take_credentials(status, out);
  return read_scheduling(tid, out);
}

absl::Status prepare_thread(const model::Process& process, uint64_t caught, model::Thread& out) {
  GeneralRegisters registers{};
  if (out.general_registers().size() != sizeof registers) return absl::InternalError("registers were not read");
  std::memcpy(&registers, out.general_registers().data(), sizeof registers);
  const uint64_t deliverable = (model::pending_set(process) | model::pending_set(out)) & ~out.signal_mask();
  RETURN_IF_ERROR(prepare_for_new_task(registers, out.tid(), (deliverable & caught) != 0));
  out.set_general_registers(bytes_of(registers));
  return absl::OkStatus();
}

absl::Status ask_thread(ApplicationCalls& calls, model::Thread& out) {
  const uint64_t scratch = calls.scratch();
  ASSIGN_OR_RETURN(const stack_t stack, calls.fetch<stack_t>("sigaltstack", SYS_sigaltstack, {0, scratch}));
  model::SignalStack& signal_stack = *out.mutable_signal_stack();
  signal_stack.set_address(reinterpret_cast<uint64_t>(stack.ss_sp));
  signal_stack.set_size(stack.ss_size);
  signal_stack.set_flags(stack.ss_flags);

  ASSIGN_OR_RETURN(const uint64_t tid_address,
                   calls.fetch<uint64_t>("prctl(PR_GET_TID_ADDRESS)", SYS_prctl, {kPrGetTidAddress, scratch}));
  out.set_clear_child_tid(tid_address);
  ASSIGN_OR_RETURN(const int death_signal,
                   calls.fetch<int>("prctl(PR_GET_PDEATHSIG)", SYS_prctl, {PR_GET_PDEATHSIG, scratch}));
  out.set_parent_death_signal(death_signal);
  ASSIGN_OR_RETURN(const int64_t slack, calls.checked("prctl(PR_GET_TIMERSLACK)", SYS_prctl, {PR_GET_TIMERSLACK}));
  out.set_timer_slack_ns(static_cast<uint64_t>(slack));
  ASSIGN_OR_RETURN(const int64_t securebits, calls.checked("prctl(PR_GET_SECUREBITS)", SYS_prctl, {PR_GET_SECUREBITS}));
  out.mutable_credentials()->set_securebits(static_cast<uint32_t>(securebits));
  return ask_thread_attributes(calls, out);
}

absl::Status set_captured_context(pid_t pid, uint64_t context_address, uint64_t signal_mask, model::Thread& out) {
  protocol::SavedContext context{};
  RETURN_IF_ERROR(read_memory(pid, context_address, &context, sizeof context));
  if (context.magic != protocol::kSavedContextMagic) {
    return absl::InvalidArgumentError(
        absl::StrCat("the SDK's context at 0x", absl::Hex(context_address), " of pid ", pid, " is not filled in"));
  }
  GeneralRegisters registers{};
  if (out.general_registers().size() != sizeof registers) return absl::InternalError("registers were not read");
  std::memcpy(&registers, out.general_registers().data(), sizeof registers);
  registers.rbx = context.rbx;
  registers.rbp = context.rbp;
  registers.r12 = context.r12;
  registers.r13 = context.r13;
  registers.r14 = context.r14;
  registers.r15 = context.r15;
  registers.rsp = context.rsp;
  registers.rip = context.rip;
  registers.rax = protocol::kRestoredMarker;
  registers.orig_rax = ~0ull;
  out.set_general_registers(bytes_of(registers));
  out.set_signal_mask(signal_mask);
  out.set_restored_marker(true);
  return absl::OkStatus();
}

}  // namespace stillpoint
