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
  const absl::Status oom = write_proc_value(pid_, "oom_score_adj", absl::StrCat(process().oom_score_adj()));
  if (!oom.ok() && process().oom_score_adj() != 0) notes_.push_back(std::string(oom.message()));
  const absl::Status filter =
      write_proc_value(pid_, "coredump_filter", absl::StrCat("0x", absl::Hex(space().coredump_filter())));
  if (!filter.ok()) notes_.push_back(std::string(filter.message()));
}

absl::StatusOr<uint64_t> TaskBuilder::find_syscall_instruction() const {
  const Range region = session_->region();
  std::string code(64 * kPageSize, '\0');
  code.resize(std::min<uint64_t>(code.size(), region.size()));
  // The code stands first; what follows may be a guard.
  for (size_t at = 0; at < code.size(); at += kPageSize) {
    if (read_memory(pid_, region.start + at, code.data() + at, kPageSize).ok()) continue;
    code.resize(at);
    break;
  }
  const size_t found = code.find("\x0f\x05");
  if (found == std::string::npos) return absl::InternalError("the worker holds no syscall instruction");
  return region.start + found;
}

absl::Status TaskBuilder::stop_threads(std::vector<Thread>& threads) {
  threads.push_back(*std::move(leader_));
  leader_.reset();
  for (int i = 1; i < process().threads_size(); ++i) {
    ASSIGN_OR_RETURN(Thread thread, Thread::seize(process().threads(i).tid(), PTRACE_O_EXITKILL));
    threads.push_back(std::move(thread));
  }
  for (Thread& thread : threads) RETURN_IF_ERROR(thread.interrupt());
  for (Thread& thread : threads) RETURN_IF_ERROR(thread.wait_stopped(absl::Now() + kStopLimit));
  return absl::OkStatus();
}

// The leader unmaps the worker and is caught on its way out of the call: the instruction behind it is gone.
absl::Status TaskBuilder::unmap_worker(Thread& leader) {
  ASSIGN_OR_RETURN(const uint64_t instruction, find_syscall_instruction());
  ASSIGN_OR_RETURN(GeneralRegisters registers, leader.registers());
  const Range region = session_->region();
  registers.rip = instruction;
  registers.rax = SYS_munmap;
  registers.orig_rax = ~0ull;
  registers.rdi = region.start;
  registers.rsi = region.size();
  RETURN_IF_ERROR(leader.set_registers(registers));
  for (const char* where : {"entering", "leaving"}) {
    RETURN_IF_ERROR(leader.resume_to_syscall_stop());
    ASSIGN_OR_RETURN(const Thread::Stop stop, leader.wait_stop(absl::Now() + kStopLimit));
    if (!stop.syscall) {
      return absl::InternalError(absl::StrCat("signal ", stop.signal, " while ", where, " the worker's last call"));
    }
  }
  ASSIGN_OR_RETURN(registers, leader.registers());
  if (registers.rax != 0) return errno_status(static_cast<int>(-registers.rax), "munmap of the worker");
  // From here to a stop in which the kernel looks at restart codes, without one instruction in between.
  RETURN_IF_ERROR(leader.interrupt());
  RETURN_IF_ERROR(leader.resume());
  return leader.wait_stopped(absl::Now() + kStopLimit);
}

absl::Status TaskBuilder::write_restored_info(uint32_t flags) {
  for (const model::Thread& thread : process().threads()) {
    if (thread.restored_info() == 0) continue;
    protocol::RestoredInfo info{};
    info.magic = protocol::kRestoredInfoMagic;
    info.flags = flags;
    info.sequence = image_.manifest().sequence();
    const std::string name = image::image_name(info.sequence);
    std::copy_n(name.data(), std::min(name.size(), sizeof info.image - 1), info.image);
    const std::string notes = absl::StrJoin(notes_, "\n");
    std::copy_n(notes.data(), std::min(notes.size(), sizeof info.notes - 1), info.notes);
    RETURN_IF_ERROR(write_memory(pid_, thread.restored_info(), &info, sizeof info));
  }
  return absl::OkStatus();
}

absl::Status TaskBuilder::start(uint32_t info_flags) {
  die_if_stage("restore-start");
  if (process().stopped())
    notes_.push_back("the program was stopped when it was checkpointed, and is; SIGCONT lets it go on");
  RETURN_IF_ERROR(write_restored_info(info_flags));
  std::vector<Thread> threads;
  const absl::Status ready = [&] {
    RETURN_IF_ERROR(stop_threads(threads));
    RETURN_IF_ERROR(unmap_worker(threads.front()));
    for (int i = 0; i < process().threads_size(); ++i) {
      RETURN_IF_ERROR(with_context(set_state(process().threads(i), threads[static_cast<size_t>(i)]),
                                   absl::StrCat("tid ", process().threads(i).tid())));
    }
    return files_.commit_all();
  }();
  if (!ready.ok()) {
    // Not one instruction of the program has run: kill it before the threads are let go.
    sys_pidfd_send_signal(pidfd_.get(), SIGKILL);
    return ready;
  }
  session_.reset();
  // The first thread that is let go takes it before its first instruction, and stops all.
  if (process().stopped() && sys_pidfd_send_signal(pidfd_.get(), SIGSTOP) != 0) {
    return errno_status(errno, absl::StrCat("pidfd_send_signal(SIGSTOP) to pid ", pid_));
  }
  for (size_t i = threads.size(); i-- > 0;) RETURN_IF_ERROR(threads[i].detach());
  return absl::OkStatus();
}

}  // namespace stillpoint
