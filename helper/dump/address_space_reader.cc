#include "helper/dump/address_space_reader.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/resources/sysv_segment.h"

namespace stillpoint {
namespace {

struct AdviceFlag {
  const char* vm_flag;  // as smaps shows it (Linux: fs/proc/task_mmu.c show_smap_vma_flags)
  int advice;
};
constexpr AdviceFlag kAdviceFlags[] = {
    {"sr", MADV_SEQUENTIAL}, {"rr", MADV_RANDOM},   {"dc", MADV_DONTFORK},   {"dd", MADV_DONTDUMP},
    {"mg", MADV_MERGEABLE},  {"hg", MADV_HUGEPAGE}, {"nh", MADV_NOHUGEPAGE}, {"wf", MADV_WIPEONFORK},
};

bool has_flag(const procfs::Mapping& mapping, absl::string_view flag) {
  return std::find(mapping.vm_flags.begin(), mapping.vm_flags.end(), flag) != mapping.vm_flags.end();
}

bool same_mapping(const procfs::Mapping& a, const procfs::Mapping& b) {
  return a.start == b.start && a.end == b.end && a.protection == b.protection && a.shared == b.shared &&
         a.offset == b.offset && a.device == b.device && a.inode == b.inode && a.name == b.name;
}

// Takes vm_flags over from `ahead` for every mapping that stands unchanged in both (both ascending). False when one is
// missing.
bool take_flags(const std::vector<procfs::Mapping>& ahead, std::vector<procfs::Mapping>& now) {
  size_t i = 0;
  for (procfs::Mapping& mapping : now) {
    while (i < ahead.size() && ahead[i].start < mapping.start) ++i;
    if (i == ahead.size() || !same_mapping(ahead[i], mapping)) return false;
    mapping.vm_flags = ahead[i].vm_flags;
    mapping.kernel_page_size = ahead[i].kernel_page_size;
    mapping.protection_key = ahead[i].protection_key;
  }
  return true;
}

bool is_special(absl::string_view name) { return absl::StartsWith(name, "["); }

std::string hex_range(const procfs::Mapping& mapping) {
  return absl::StrCat("mapping ", absl::Hex(mapping.start), "-", absl::Hex(mapping.end), " ", mapping.name);
}

// What a fork inherits.
void set_flags(const procfs::Mapping& mapping, model::Vma& vma) {
  vma.set_grows_down(has_flag(mapping, "gd"));
  vma.set_no_reserve(has_flag(mapping, "nr"));
  vma.set_droppable(has_flag(mapping, "dp"));
  vma.set_may_write(mapping.shared && has_flag(mapping, "mw"));
  vma.clear_advice();
  for (const AdviceFlag& flag : kAdviceFlags) {
    if (has_flag(mapping, flag.vm_flag)) vma.add_advice(static_cast<uint32_t>(flag.advice));
  }
}

bool has_advice(const model::Vma& vma, int advice) {
  return std::find(vma.advice().begin(), vma.advice().end(), static_cast<uint32_t>(advice)) != vma.advice().end();
}

bool is_private(const model::Vma& vma) {
  return vma.kind() == model::Vma::ANONYMOUS || vma.kind() == model::Vma::FILE_PRIVATE || vma.was_private_shm();
}

// The kernel itself gives a key to memory that may only be executed; a new life gets it the same way.
bool has_own_key(const procfs::Mapping& mapping) {
  return mapping.protection_key != 0 && mapping.protection != PROT_EXEC;
}

// A file may also be called that: then it is where its name says.
bool is_deleted(const procfs::Mapping& mapping) {
  struct stat stat {};
  return absl::EndsWith(mapping.name, " (deleted)") &&
         (::stat(mapping.name.c_str(), &stat) != 0 || stat.st_ino != mapping.inode);
}

void audit_flags(const procfs::Mapping& mapping, Findings& findings) {
  if (has_flag(mapping, "um") || has_flag(mapping, "uw") || has_flag(mapping, "ui")) {
    findings.add({"SP-USERFAULTFD-MAP", hex_range(mapping), "it is registered with a userfaultfd",
                  "unregister it in a pre-dump hook and register it again in post-resume and post-restore hooks"});
  }
  if (has_flag(mapping, "sl")) {
    findings.add({"SP-MSEAL", hex_range(mapping), "it is sealed with mseal(2): restore could not rebuild it",
                  "do not seal mappings in a program that is to be checkpointed, or release the mapping in a hook"});
  }
  if (has_own_key(mapping)) {
    findings.add({"SP-PKEY", hex_range(mapping),
                  absl::StrCat("it has memory protection key ", mapping.protection_key,
                               ", and which keys a program has allocated cannot be asked"),
                  "give it key 0 (pkey_mprotect) in a stillpoint::on_pre_dump hook, its key again in "
                  "stillpoint::on_post_resume, and a newly allocated one in stillpoint::on_post_restore"});
  }
}

}  // namespace

absl::Status AddressSpaceReader::read_ahead(pid_t pid) {
  ASSIGN_OR_RETURN(ahead_, procfs::read_smaps(pid));
  return absl::OkStatus();
}

absl::Status AddressSpaceReader::read_mappings(pid_t tid, model::AddressSpace& out) {
  ASSIGN_OR_RETURN(mappings_, procfs::read_maps(tid));
  ASSIGN_OR_RETURN(const procfs::TaskStatus status, procfs::read_status(tid, tid));
  out.set_thp_disabled(!status.thp_enabled);
  // Locks stand nowhere else: a fork does not inherit them.
  if (!take_flags(ahead_, mappings_) || status.locked_kib != 0) {
    ASSIGN_OR_RETURN(mappings_, procfs::read_smaps(tid));
    return absl::OkStatus();
  }
  for (procfs::Mapping& mapping : mappings_) {
    std::erase_if(mapping.vm_flags, [](const std::string& flag) { return flag == "lo" || flag == "lf"; });
  }
  return absl::OkStatus();
}

absl::Status AddressSpaceReader::read(pid_t tid, Findings& findings, model::AddressSpace& out) {
  RETURN_IF_ERROR(read_mappings(tid, out));
  for (const procfs::Mapping& mapping : mappings_) RETURN_IF_ERROR(add_vma(tid, mapping, findings, out));

  ASSIGN_OR_RETURN(const procfs::Stat stat, procfs::read_stat(tid));
  out.set_start_code(stat.start_code);
  out.set_end_code(stat.end_code);
  out.set_start_data(stat.start_data);
  out.set_end_data(stat.end_data);
  out.set_start_brk(stat.start_brk);
  out.set_start_stack(stat.start_stack);
  out.set_arg_start(stat.arg_start);
  out.set_arg_end(stat.arg_end);
  out.set_env_start(stat.env_start);
  out.set_env_end(stat.env_end);
  ASSIGN_OR_RETURN(std::string auxv, procfs::read_auxv(tid));
  out.set_auxv(std::move(auxv));
  ASSIGN_OR_RETURN(const std::string filter, procfs::read_text(absl::StrCat("/proc/", tid, "/coredump_filter")));
  uint32_t coredump_filter = 0;
  if (absl::SimpleHexAtoi(absl::StripAsciiWhitespace(filter), &coredump_filter)) {
    out.set_coredump_filter(coredump_filter);
  }
  ASSIGN_OR_RETURN(const uint64_t executable, files_.enter_executable(tid));
  out.set_executable(executable);
  return absl::OkStatus();
}

absl::Status AddressSpaceReader::ask(ApplicationCalls& calls, model::AddressSpace& out) {
  ASSIGN_OR_RETURN(const int64_t brk, calls.checked("brk", SYS_brk, {0}));
  out.set_brk(static_cast<uint64_t>(brk));
  ASSIGN_OR_RETURN(const int64_t dumpable, calls.checked("prctl(PR_GET_DUMPABLE)", SYS_prctl, {PR_GET_DUMPABLE}));
  out.set_dumpable(static_cast<int32_t>(dumpable));
  return absl::OkStatus();
}

absl::Status AddressSpaceReader::ask_locking(ApplicationCalls& calls, model::AddressSpace& out) {
  ASSIGN_OR_RETURN(const procfs::TaskStatus before, procfs::read_status(calls.tid(), calls.tid()));
  if (before.locked_kib == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(
      const int64_t address,
      calls.call(SYS_mmap, {0, kPageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, ~uint64_t{0}, 0}));
  if (address == -EAGAIN) {  // it would be locked, and RLIMIT_MEMLOCK is used up
    out.set_mlock_future(true);
    return absl::OkStatus();
  }
  if (address < 0) return errno_status(static_cast<int>(-address), "mmap in the program");
  const absl::StatusOr<procfs::TaskStatus> after = procfs::read_status(calls.tid(), calls.tid());
  const bool locked = after.ok() && after->locked_kib > before.locked_kib;
  absl::StatusOr<std::vector<procfs::Mapping>> mappings;
  if (locked) mappings = procfs::read_smaps(calls.tid());
  RETURN_IF_ERROR(calls.checked("munmap", SYS_munmap, {static_cast<uint64_t>(address), kPageSize}).status());
  RETURN_IF_ERROR(after.status());
  out.set_mlock_future(locked);
  if (!locked) return absl::OkStatus();
  RETURN_IF_ERROR(mappings.status());
  for (const procfs::Mapping& mapping : *mappings) {
    const uint64_t at = static_cast<uint64_t>(address);
    if (mapping.start <= at && at < mapping.end) out.set_mlock_on_fault(has_flag(mapping, "lf"));
  }
  return absl::OkStatus();
}

absl::Status AddressSpaceReader::add_vma(pid_t pid, const procfs::Mapping& mapping, Findings& findings,
                                         model::AddressSpace& out) {
  if (mapping.name == "[vsyscall]") return absl::OkStatus();
  audit_flags(mapping, findings);
  model::Vma& vma = *out.add_vmas();
  vma.set_start(mapping.start);
  vma.set_end(mapping.end);
  vma.set_protection(mapping.protection);
  vma.set_offset(mapping.offset);
  vma.set_locked(has_flag(mapping, "lo"));
  vma.set_lock_on_fault(has_flag(mapping, "lf"));
  if (has_flag(mapping, "ht")) vma.set_huge_page_size(mapping.kernel_page_size);
  set_flags(mapping, vma);
  RETURN_IF_ERROR(classify(pid, mapping, findings, vma));

  if (is_private(vma) && !vma.droppable() &&
      (has_flag(mapping, "dc") || has_flag(mapping, "wf") || vma.huge_page_size() != 0 ||
       saved_whole_.contains(mapping.start))) {
    copied_in_pause_.push_back(out.vmas_size() - 1);
  }
  if (vma.kind() == model::Vma::VDSO) {
    out.mutable_vdso()->set_vdso_start(mapping.start);
    out.mutable_vdso()->set_vdso_end(mapping.end);
    std::string content(mapping.end - mapping.start, '\0');
    RETURN_IF_ERROR(read_memory(pid, mapping.start, content.data(), content.size()));
    out.mutable_vdso()->set_content(std::move(content));
  }
  if (vma.kind() == model::Vma::VVAR && out.vdso().vvar_start() == 0) {
    out.mutable_vdso()->set_vvar_start(mapping.start);
  }
  return absl::OkStatus();
}

absl::Status AddressSpaceReader::classify(pid_t pid, const procfs::Mapping& mapping, Findings& findings,
                                          model::Vma& vma) {
  const absl::string_view name = mapping.name;
  if (name == "[vdso]") {
    vma.set_kind(model::Vma::VDSO);
  } else if (absl::StartsWith(name, "[vvar")) {
    vma.set_kind(model::Vma::VVAR);
  } else if (absl::StartsWith(name, "/memfd:") || absl::StartsWith(name, "[anon_shmem:") ||
             (mapping.shared && (absl::StartsWith(name, "/dev/zero") || absl::StartsWith(name, "/anon_hugepage")))) {
    vma.set_kind(model::Vma::SHARED_MEMORY);
    vma.set_was_private_shm(!mapping.shared);
    ASSIGN_OR_RETURN(const uint64_t id, shared_.enter_mapping(pid, mapping));
    vma.set_shared_memory(id);
  } else if (is_sysv_segment(mapping)) {
    vma.set_kind(model::Vma::SHARED_MEMORY);
    ASSIGN_OR_RETURN(const uint64_t id, shared_.enter_segment(pid, mapping));
    vma.set_shared_memory(id);
  } else if (name.empty() || is_special(name) || absl::StartsWith(name, "/dev/zero") ||
             absl::StartsWith(name, "/anon_hugepage")) {
    vma.set_kind(model::Vma::ANONYMOUS);
    vma.set_offset(0);
    if (absl::StartsWith(name, "[anon:")) {
      vma.set_anonymous_name(std::string(absl::StripSuffix(absl::StripPrefix(name, "[anon:"), "]")));
    }
  } else {
    return classify_file(pid, mapping, findings, vma);
  }
  return absl::OkStatus();
}

absl::Status AddressSpaceReader::classify_file(pid_t pid, const procfs::Mapping& mapping, Findings& findings,
                                               model::Vma& vma) {
  // Nobody can open it any more, so it is memory that its mappings share (POSIX semaphores are often that).
  if (mapping.shared && is_deleted(mapping)) {
    vma.set_kind(model::Vma::SHARED_MEMORY);
    ASSIGN_OR_RETURN(const uint64_t id, shared_.enter_deleted_file(pid, mapping));
    vma.set_shared_memory(id);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const uint64_t file, files_.enter_mapping(pid, mapping));
  if (file != 0) {
    vma.set_mapped_file(file);
    vma.set_kind(mapping.shared ? model::Vma::FILE_SHARED : model::Vma::FILE_PRIVATE);
    return absl::OkStatus();
  }
  if (mapping.shared) {
    findings.add({"SP-MAP-GONE", hex_range(mapping), "the file behind this shared mapping is no longer at its path",
                  "unmap it in a pre-dump hook and map it again in post-resume and post-restore hooks, or run the "
                  "helper with cap_checkpoint_restore"});
    return absl::OkStatus();
  }
  vma.set_kind(model::Vma::ANONYMOUS);  // its bytes become the process's own
  vma.set_offset(0);
  saved_whole_.insert(mapping.start);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int>> AddressSpaceReader::find_unforked(const std::vector<procfs::Mapping>& of_snapshot,
                                                                   model::AddressSpace& space) {
  std::vector<int> fresh;
  size_t at = 0;
  for (int i = 0; i < space.vmas_size(); ++i) {
    model::Vma& vma = *space.mutable_vmas(i);
    while (at < of_snapshot.size() && of_snapshot[at].start < vma.start()) ++at;
    if (at < of_snapshot.size() && of_snapshot[at].start == vma.start()) {
      if (of_snapshot[at].end == vma.end()) continue;
      return absl::InternalError(absl::StrCat("the snapshot has ", hex_range(of_snapshot[at]), " with another end"));
    }
    if (has_advice(vma, MADV_DONTFORK)) continue;
    vma.add_advice(MADV_DONTFORK);
    if (!is_private(vma) || std::find(copied_in_pause_.begin(), copied_in_pause_.end(), i) != copied_in_pause_.end()) {
      continue;
    }
    copied_in_pause_.push_back(i);
    fresh.push_back(i);
  }
  return fresh;
}

absl::Status AddressSpaceReader::settle_flags(const std::vector<procfs::Mapping>& now, bool forked,
                                              model::AddressSpace& space) {
  size_t at = 0;
  for (model::Vma& vma : *space.mutable_vmas()) {
    while (at < now.size() && now[at].start < vma.start()) ++at;
    if (at == now.size() || now[at].start != vma.start()) continue;  // MADV_DONTFORK
    const procfs::Mapping& mapping = now[at];
    if (vma.kind() == model::Vma::VDSO || vma.kind() == model::Vma::VVAR) continue;
    if (forked && is_private(vma) && has_flag(mapping, "wf") && !has_advice(vma, MADV_WIPEONFORK)) {
      return absl::AbortedError(
          absl::StrCat(hex_range(mapping), " became MADV_WIPEONFORK while the checkpoint began; try again"));
    }
    if (has_flag(mapping, "sl")) {
      return absl::AbortedError(
          absl::StrCat(hex_range(mapping), " was sealed with mseal(2) while the checkpoint began"));
    }
    if (has_own_key(mapping)) {
      return absl::AbortedError(
          absl::StrCat(hex_range(mapping), " got a memory protection key while the checkpoint began"));
    }
    set_flags(mapping, vma);
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
