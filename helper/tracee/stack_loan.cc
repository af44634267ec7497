#include "helper/tracee/stack_loan.h"

#include <sys/mman.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

// Not read_memory and write_memory: their way through /proc/PID/mem overrides the protection of pages.
bool read_plainly(pid_t tid, uint64_t address, std::string& bytes) {
  const iovec local = {bytes.data(), bytes.size()};
  const iovec remote = {reinterpret_cast<void*>(address), bytes.size()};
  return ::process_vm_readv(tid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(bytes.size());
}

bool write_plainly(pid_t tid, uint64_t address, absl::string_view bytes) {
  const iovec local = {const_cast<char*>(bytes.data()), bytes.size()};
  const iovec remote = {reinterpret_cast<void*>(address), bytes.size()};
  return ::process_vm_writev(tid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(bytes.size());
}

absl::Status no_room(pid_t tid, uint64_t low, uint64_t stack_pointer, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat("tid ", tid, " has no room for a signal frame (",
                                                    stack_pointer - low, " bytes) below its stack pointer 0x",
                                                    absl::Hex(stack_pointer), ": ", why));
}

bool grows_down(const procfs::Mapping& mapping) {
  return std::find(mapping.vm_flags.begin(), mapping.vm_flags.end(), "gd") != mapping.vm_flags.end();
}

// Lets the kernel grow the stack down to `low`, as it would if the thread touched it: a write through /proc/PID/mem
// does (Linux: mm/memory.c, __access_remote_vm), process_vm_writev(2) does not. The page is new and zero, as is the
// byte.
absl::Status grow(pid_t tid, uint64_t low, uint64_t stack_pointer) {
  ASSIGN_OR_RETURN(const std::vector<procfs::Mapping> maps, procfs::read_smaps(tid));
  for (const procfs::Mapping& mapping : maps) {
    if (stack_pointer < mapping.start || stack_pointer > mapping.end) continue;
    if ((mapping.protection & PROT_WRITE) == 0) continue;
    if (low >= mapping.start || !grows_down(mapping)) continue;
    return write_memory(tid, low, "", 1);
  }
  return no_room(tid, low, stack_pointer, "it is not in a mapping that is writable so far, or that grows down");
}

}  // namespace

absl::StatusOr<StackLoan> StackLoan::take(pid_t tid, uint64_t low, uint64_t high, uint64_t stack_pointer) {
  if (low >= high || high > stack_pointer || low < kPageSize) {
    return no_room(tid, low, stack_pointer, "it is no stack pointer");
  }
  StackLoan loan;
  loan.tid_ = tid;
  loan.low_ = low;
  loan.original_.resize(high - low);
  if (!read_plainly(tid, low, loan.original_)) {
    RETURN_IF_ERROR(grow(tid, low, stack_pointer));
    if (!read_plainly(tid, low, loan.original_)) return no_room(tid, low, stack_pointer, "it cannot be read");
  }
  // The same bytes back: finds out whether they may be written, and where the pages are shared makes them the thread's.
  if (!write_plainly(tid, low, loan.original_)) return no_room(tid, low, stack_pointer, "it cannot be written");
  return loan;
}

absl::Status StackLoan::write(absl::string_view bytes, uint64_t address) const {
  if (address < low_ || bytes.size() > original_.size() || address - low_ > original_.size() - bytes.size()) {
    return absl::InternalError("a write outside the borrowed stack");
  }
  if (!write_plainly(tid_, address, bytes)) {
    return errno_status(errno, absl::StrCat("process_vm_writev to the stack of tid ", tid_));
  }
  return absl::OkStatus();
}

absl::Status StackLoan::give_back() const { return write(original_, low_); }

}  // namespace stillpoint
