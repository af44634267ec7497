// The last step of TaskBuilder: from workers to the program's own threads.
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/procfs/process_files.h"
#include "helper/protocol/context.h"
#include "helper/restore/task_builder.h"

namespace stillpoint {
namespace {

constexpr absl::Duration kStopLimit = absl::Seconds(10);

absl::Status write_proc_value(pid_t pid, const char* name, const std::string& value) {
  const std::string path = absl::StrCat("/proc/", pid, "/", name);
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("open ", path));
  return write_all(fd.get(), value, path);
}

absl::Status set_state(const model::Thread& wanted, const Thread& thread) {
  GeneralRegisters registers{};
  std::memcpy(&registers, wanted.general_registers().data(), sizeof registers);
  RETURN_IF_ERROR(thread.set_extended_registers(wanted.extended_registers()));
  RETURN_IF_ERROR(thread.set_registers(registers));
  return thread.set_signal_mask(wanted.signal_mask());
}

}  // namespace

void TaskBuilder::set_proc_values() {
  const absl::Status oom = write_proc_value(pid(), "oom_score_adj", absl::StrCat(process_.oom_score_adj()));
  if (!oom.ok() && process_.oom_score_adj() != 0) parts_.notes.emplace_back(oom.message());
  const absl::Status filter =
      write_proc_value(pid(), "coredump_filter", absl::StrCat("0x", absl::Hex(space_.coredump_filter())));
  if (!filter.ok()) parts_.notes.emplace_back(filter.message());
}

absl::StatusOr<uint64_t> TaskBuilder::find_syscall_instruction() const {
  const Range region = session_.region();
  std::string code(64 * kPageSize, '\0');
  code.resize(std::min<uint64_t>(code.size(), region.size()));
  // The code stands first; what follows may be a guard.
  for (size_t at = 0; at < code.size(); at += kPageSize) {
    if (read_memory(pid(), region.start + at, code.data() + at, kPageSize).ok()) continue;
    code.resize(at);
    break;
  }
  const size_t found = code.find("\x0f\x05");
  if (found == std::string::npos) return absl::InternalError("the worker holds no syscall instruction");
  return region.start + found;
}

// A leader that is yet to leave would not, once stopped.
bool TaskBuilder::is_stopped_early() const {
  return process_.stopped() && !process_.stop_to_come() && !process_.leader_ended();
}

absl::Status TaskBuilder::stop_worker() {
  if (sys_pidfd_send_signal(pidfd_.get(), SIGSTOP) != 0) {
    return errno_status(errno, absl::StrCat("pidfd_send_signal(SIGSTOP) to pid ", pid()));
  }
  stopped_ = true;
  return leader_->wait_group_stopped(absl::Now() + kStopLimit);
}

absl::Status TaskBuilder::continue_worker() {
  if (sys_pidfd_send_signal(pidfd_.get(), SIGCONT) != 0) {
    return errno_status(errno, absl::StrCat("pidfd_send_signal(SIGCONT) to pid ", pid()));
  }
  stopped_ = false;
  // Its tracer is told once more.
  RETURN_IF_ERROR(leader_->resume());
  RETURN_IF_ERROR(leader_->wait_stop(absl::Now() + kStopLimit).status());
  return leader_->resume();
}

absl::Status TaskBuilder::stop_threads() {
  threads_.push_back(*std::move(leader_));
  leader_.reset();
  for (const model::Thread& wanted : process_.threads()) {
    if (wanted.tid() == pid()) continue;
    ASSIGN_OR_RETURN(Thread thread, Thread::seize(wanted.tid(), PTRACE_O_EXITKILL));
    threads_.push_back(std::move(thread));
  }
  for (Thread& thread : threads_) {
    if (!thread.stopped()) RETURN_IF_ERROR(thread.interrupt());
  }
  for (Thread& thread : threads_) RETURN_IF_ERROR(thread.wait_stopped(absl::Now() + kStopLimit));
  return absl::OkStatus();
}

absl::Status TaskBuilder::set_system_call(const Thread& thread, long number, uint64_t a, uint64_t b) const {
  ASSIGN_OR_RETURN(GeneralRegisters registers, thread.registers());
  registers.rip = syscall_instruction_;
  registers.rax = static_cast<uint64_t>(number);
  registers.orig_rax = ~0ull;
  registers.rdi = a;
  registers.rsi = b;
  return thread.set_registers(registers);
}

// A leader that had left by pthread_exit(3) leaves again: a zombie that shows the process's pid, and gives the process
// its exit code when the last thread has left in the same way.
absl::Status TaskBuilder::end_leader() {
  const absl::Time deadline = absl::Now() + kStopLimit;
  RETURN_IF_ERROR(set_system_call(threads_.front(), SYS_exit, static_cast<uint64_t>(process_.leader_exit_code()), 0));
  RETURN_IF_ERROR(threads_.front().detach());
  threads_.erase(threads_.begin());
  for (;;) {
    ASSIGN_OR_RETURN(const procfs::Stat stat, procfs::read_stat(pid(), pid()));
    if (stat.state == 'Z') return absl::OkStatus();
    if (absl::Now() > deadline) return absl::DeadlineExceededError(absl::StrCat("tid ", pid(), " does not end"));
    absl::SleepFor(absl::Microseconds(200));
  }
}

// The thread unmaps the worker and is caught on its way out of the call: the instruction behind it is gone.
absl::Status TaskBuilder::unmap_worker(Thread& thread) {
  const Range region = session_.region();
  RETURN_IF_ERROR(set_system_call(thread, SYS_munmap, region.start, region.size()));
  for (const char* where : {"entering", "leaving"}) {
    RETURN_IF_ERROR(thread.resume_to_syscall_stop());
    ASSIGN_OR_RETURN(const Thread::Stop stop, thread.wait_stop(absl::Now() + kStopLimit));
    if (!stop.syscall) {
      return absl::InternalError(absl::StrCat("signal ", stop.signal, " while ", where, " the worker's last call"));
    }
  }
  ASSIGN_OR_RETURN(const GeneralRegisters registers, thread.registers());
  if (registers.rax != 0) return errno_status(static_cast<int>(-registers.rax), "munmap of the worker");
  // From here to a stop in which the kernel looks at restart codes, without one instruction in between.
  RETURN_IF_ERROR(thread.interrupt());
  RETURN_IF_ERROR(thread.resume());
  return thread.wait_stopped(absl::Now() + kStopLimit);
}

absl::Status TaskBuilder::write_restored_info(uint32_t flags) {
  for (const model::Thread& thread : process_.threads()) {
    if (thread.restored_info() == 0) continue;
    protocol::RestoredInfo info{};
    info.magic = protocol::kRestoredInfoMagic;
    info.flags = flags;
    info.sequence = parts_.image.manifest().sequence();
    const std::string name = image::image_name(info.sequence);
    std::copy_n(name.data(), std::min(name.size(), sizeof info.image - 1), info.image);
    const std::string notes = absl::StrJoin(parts_.notes, "\n");
    std::copy_n(notes.data(), std::min(notes.size(), sizeof info.notes - 1), info.notes);
    RETURN_IF_ERROR(write_memory(pid(), thread.restored_info(), &info, sizeof info));
  }
  return absl::OkStatus();
}

absl::Status TaskBuilder::prepare_start(uint32_t info_flags) {
  die_if_stage("restore-start");
  if (process_.stopped()) {
    parts_.notes.push_back(
        absl::StrCat("pid ", pid(), " was stopped when it was checkpointed, and is; SIGCONT lets it go on"));
  }
  RETURN_IF_ERROR(write_restored_info(info_flags));
  RETURN_IF_ERROR(stop_threads());
  ASSIGN_OR_RETURN(syscall_instruction_, find_syscall_instruction());
  if (process_.leader_ended()) RETURN_IF_ERROR(end_leader());
  RETURN_IF_ERROR(unmap_worker(threads_.front()));
  for (size_t i = 0; i < threads_.size(); ++i) {
    const model::Thread& wanted = process_.threads(static_cast<int>(i));
    RETURN_IF_ERROR(with_context(set_state(wanted, threads_[i]), absl::StrCat("tid ", wanted.tid())));
  }
  return absl::OkStatus();
}

absl::Status TaskBuilder::release() {
  // The first thread that is let go takes it before its first instruction, and stops all.
  if (process_.stopped() && !stopped_ && sys_pidfd_send_signal(pidfd_.get(), SIGSTOP) != 0) {
    return errno_status(errno, absl::StrCat("pidfd_send_signal(SIGSTOP) to pid ", pid()));
  }
  for (size_t i = threads_.size(); i-- > 0;) RETURN_IF_ERROR(threads_[i].detach());
  threads_.clear();
  return absl::OkStatus();
}

}  // namespace stillpoint
