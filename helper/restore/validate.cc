#include "helper/restore/validate.h"

#include <signal.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/image/image.h"
#include "helper/model/births.h"
#include "helper/model/cpu.h"
#include "helper/model/ids.h"
#include "helper/model/pending_signal.h"
#include "helper/restore/validate_objects.h"

namespace stillpoint {
namespace {

constexpr uint64_t kTaskSize = 0x7ffffffff000;
constexpr int kMaxPid = 1 << 22;  // Linux: PID_MAX_LIMIT
constexpr int kMaxDescriptor = 1 << 26;
constexpr size_t kMaxXstate = size_t{64} * 1024;
constexpr size_t kMinXstate = 512 + 64;  // legacy area and XSAVE header
constexpr size_t kSiginfoSize = 128;
constexpr size_t kSigactionSize = 32;
constexpr size_t kMaxAffinity = 1024;
constexpr int kMaxGroups = 65536;

template <typename... Parts>
absl::Status damaged(const Parts&... parts) {
  return absl::DataLossError(absl::StrCat("state.pb: ", parts...));
}

bool page_aligned(uint64_t n) { return n % kPageSize == 0; }

absl::Status check_signals(const google::protobuf::RepeatedPtrField<model::PendingSignal>& pending) {
  for (const model::PendingSignal& signal : pending) {
    if (signal.siginfo().size() != kSiginfoSize)
      return damaged("a pending signal has ", signal.siginfo().size(), " bytes");
    const int number = model::signal_number(signal);
    if (number < 1 || number > 64 || number == SIGKILL || number == SIGSTOP) {
      return damaged("signal ", number, " cannot be pending");
    }
  }
  return absl::OkStatus();
}

absl::Status check_thread(const model::Thread& thread, std::set<int>& tids) {
  if (thread.tid() <= 0 || thread.tid() > kMaxPid) return damaged("tid ", thread.tid(), " is impossible");
  if (!tids.insert(thread.tid()).second) return damaged("tid ", thread.tid(), " stands twice");
  if (thread.general_registers().size() != sizeof(user_regs_struct)) {
    return damaged("tid ", thread.tid(), " has ", thread.general_registers().size(), " bytes of registers");
  }
  const size_t xstate = thread.extended_registers().size();
  if (xstate < kMinXstate || xstate > kMaxXstate)
    return damaged("tid ", thread.tid(), " has ", xstate, " bytes of XSAVE state");
  if (thread.affinity().size() > kMaxAffinity) return damaged("the affinity of tid ", thread.tid(), " is too long");
  if (thread.credentials().groups_size() > kMaxGroups) return damaged("tid ", thread.tid(), " has too many groups");
  return check_signals(thread.pending_signals());
}

bool is_wait_status_of_an_end(int status) { return (WIFEXITED(status) || WIFSIGNALED(status)) && status >= 0; }

// A zombie: whatever it had is gone.
absl::Status check_ended_process(const model::Process& process, std::set<int>& tids) {
  if (process.pid() <= 0 || process.pid() > kMaxPid) return damaged("pid ", process.pid(), " is impossible");
  if (!tids.insert(process.pid()).second) return damaged("pid ", process.pid(), " stands twice");
  if (!is_wait_status_of_an_end(process.exit_status())) {
    return damaged("the exit status ", process.exit_status(), " of pid ", process.pid(), " is impossible");
  }
  return absl::OkStatus();
}

absl::Status check_leader(const model::Process& process, std::set<int>& tids) {
  if (!process.leader_ended()) {
    if (process.threads(0).tid() == process.pid()) return absl::OkStatus();
    return damaged("the leader of pid ", process.pid(), " is missing");
  }
  if (process.pid() <= 0 || process.pid() > kMaxPid) return damaged("pid ", process.pid(), " is impossible");
  if (!tids.insert(process.pid()).second) return damaged("pid ", process.pid(), " stands twice");
  return absl::OkStatus();
}

absl::Status check_process(const model::Tree& tree, const model::Process& process, std::set<int>& tids) {
  if (process.exit_signal() < 0 || process.exit_signal() > 64) {
    return damaged("pid ", process.pid(), " ends with signal ", process.exit_signal());
  }
  if (process.ended()) return check_ended_process(process, tids);
  if (process.threads().empty()) return damaged("pid ", process.pid(), " has no threads");
  RETURN_IF_ERROR(check_leader(process, tids));
  if (model::find_address_space(tree, process.address_space()) == nullptr ||
      model::find_file_table(tree, process.file_table()) == nullptr ||
      model::find_signal_table(tree, process.signal_table()) == nullptr ||
      model::find_filesystem_context(tree, process.filesystem_context()) == nullptr) {
    return damaged("pid ", process.pid(), " refers to an object that is not there");
  }
  for (const model::Thread& thread : process.threads()) RETURN_IF_ERROR(check_thread(thread, tids));
  for (const model::Rlimit& limit : process.rlimits()) {
    if (limit.resource() >= 16) return damaged("resource limit ", limit.resource(), " is unknown");
  }
  for (const model::PosixTimer& timer : process.posix_timers()) {
    if (timer.id() < 0 || timer.value_ns() < 0 || timer.interval_ns() < 0)
      return damaged("timer ", timer.id(), " is impossible");
  }
  return check_signals(process.pending_signals());
}

absl::Status check_vmas(const model::Tree& tree, const model::AddressSpace& space) {
  uint64_t end = 0;
  for (const model::Vma& vma : space.vmas()) {
    if (vma.start() < end || vma.end() <= vma.start() || vma.end() > kTaskSize || !page_aligned(vma.start()) ||
        !page_aligned(vma.end()) || !page_aligned(vma.offset())) {
      return damaged("the mapping ", absl::Hex(vma.start()), "-", absl::Hex(vma.end()), " is impossible");
    }
    end = vma.end();
    if (vma.kind() == model::Vma::SHARED_MEMORY) {
      const model::SharedMemory* memory = model::find_shared_memory(tree, vma.shared_memory());
      if (memory == nullptr) return damaged("the mapping at ", absl::Hex(vma.start()), " has no shared memory");
      if (!memory->memfd() &&
          (vma.offset() > memory->size() || vma.end() - vma.start() > memory->size() - vma.offset())) {
        return damaged("the mapping at ", absl::Hex(vma.start()), " is larger than its shared memory");
      }
    }
    for (const model::Range& guard : vma.guards()) {
      if (guard.start() < vma.start() || guard.end() > vma.end() || guard.end() <= guard.start()) {
        return damaged("the guard at ", absl::Hex(guard.start()), " lies outside its mapping");
      }
    }
  }
  const model::Vdso& vdso = space.vdso();
  if (vdso.vdso_start() != 0 && (vdso.vvar_start() > vdso.vdso_start() || vdso.vdso_end() <= vdso.vdso_start() ||
                                 vdso.vdso_end() > kTaskSize || vdso.vdso_end() - vdso.vvar_start() > (1 << 18))) {
    return damaged("the vDSO is impossible");
  }
  return absl::OkStatus();
}

absl::Status check_extents(const google::protobuf::RepeatedPtrField<model::PageExtent>& extents, uint64_t limit,
                           const std::map<uint32_t, uint64_t>& file_sizes) {
  uint64_t end = 0;
  for (const model::PageExtent& extent : extents) {
    const auto file = file_sizes.find(extent.file());
    if (!page_aligned(extent.address()) || !page_aligned(extent.length()) || !page_aligned(extent.offset()) ||
        extent.address() < end || extent.length() == 0 || extent.length() > limit ||
        extent.address() > limit - extent.length()) {
      return damaged("the pages at ", absl::Hex(extent.address()), " are impossible");
    }
    if (file == file_sizes.end() || extent.offset() > file->second ||
        extent.length() > file->second - extent.offset()) {
      return damaged("the pages at ", absl::Hex(extent.address()), " lie outside pages-", extent.file(), ".bin");
    }
    end = extent.address() + extent.length();
  }
  return absl::OkStatus();
}

// Every extent must lie in one mapping that is the process's own memory.
absl::Status check_extents_in_vmas(const model::AddressSpace& space) {
  int i = 0;
  for (const model::PageExtent& extent : space.pages()) {
    while (i < space.vmas_size() && space.vmas(i).end() <= extent.address()) ++i;
    if (i == space.vmas_size() || extent.address() < space.vmas(i).start() ||
        extent.address() + extent.length() > space.vmas(i).end()) {
      return damaged("the pages at ", absl::Hex(extent.address()), " lie in no mapping");
    }
    const model::Vma& vma = space.vmas(i);
    const bool own = vma.kind() == model::Vma::ANONYMOUS || vma.kind() == model::Vma::FILE_PRIVATE ||
                     (vma.kind() == model::Vma::SHARED_MEMORY && vma.was_private_shm());
    if (!own) return damaged("the pages at ", absl::Hex(extent.address()), " lie in a shared mapping");
  }
  return absl::OkStatus();
}

absl::Status check_file_table(const model::Tree& tree, const model::FileTable& table) {
  int last = -1;
  for (const model::FileDescriptor& descriptor : table.descriptors()) {
    if (descriptor.number() <= last || descriptor.number() > kMaxDescriptor) {
      return damaged("fd ", descriptor.number(), " is out of order or impossible");
    }
    last = descriptor.number();
    if (model::find_open_file(tree, descriptor.open_file()) == nullptr) {
      return damaged("fd ", descriptor.number(), " refers to no open file");
    }
  }
  return absl::OkStatus();
}

std::map<uint32_t, uint64_t> page_file_sizes(const image::Manifest& manifest) {
  std::map<uint32_t, uint64_t> sizes;
  for (const image::FileEntry& file : manifest.files()) {
    if (const std::optional<uint32_t> k = image::pages_number(file.name()); k.has_value()) sizes[*k] = file.size();
  }
  return sizes;
}

}  // namespace

absl::Status validate(const model::Tree& tree, const image::Manifest& manifest) {
  if (tree.processes().empty()) return damaged("it holds no process");
  if (tree.processes(0).ended()) return damaged("its root has ended");
  std::set<int> tids;
  for (const model::Process& process : tree.processes()) RETURN_IF_ERROR(check_process(tree, process, tids));
  RETURN_IF_ERROR(validate_objects(tree));
  RETURN_IF_ERROR(with_context(model::plan_births(tree).status(), "state.pb"));
  const std::map<uint32_t, uint64_t> file_sizes = page_file_sizes(manifest);
  for (const model::AddressSpace& space : tree.address_spaces()) {
    RETURN_IF_ERROR(check_vmas(tree, space));
    RETURN_IF_ERROR(check_extents(space.pages(), kTaskSize, file_sizes));
    RETURN_IF_ERROR(check_extents_in_vmas(space));
    if (model::find_mapped_file(tree, space.executable()) == nullptr) return damaged("the executable is missing");
  }
  for (const model::SharedMemory& memory : tree.shared_memories()) {
    if (memory.size() > kTaskSize) return damaged("shared memory ", memory.id(), " is impossibly large");
    RETURN_IF_ERROR(check_extents(memory.pages(), page_ceil(memory.size()), file_sizes));
  }
  for (const model::FileTable& table : tree.file_tables()) RETURN_IF_ERROR(check_file_table(tree, table));
  for (const model::SignalTable& table : tree.signal_tables()) {
    for (const model::SignalAction& action : table.actions()) {
      if (action.signal() < 1 || action.signal() > 64 || action.action().size() != kSigactionSize) {
        return damaged("the handler of signal ", action.signal(), " is impossible");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status check_cpu(const image::Manifest& manifest) {
  const std::set<std::string> here = model::cpu_features();
  std::vector<std::string> missing;
  for (const std::string& feature : manifest.cpu_features()) {
    if (!here.contains(feature)) missing.push_back(feature);
  }
  if (missing.empty() && (manifest.xsave_features() & ~model::xsave_features()) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("this CPU lacks features that the program may be using: ", absl::StrJoin(missing, " "),
                   " (image made on ", manifest.host(), "); restart on a machine whose CPU has them"));
}

}  // namespace stillpoint
