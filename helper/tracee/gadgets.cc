#include <sys/mman.h>

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/tracee/remote_call.h"

namespace stillpoint {
namespace {

using namespace std::string_literals;

constexpr uint64_t kMaxScannedMapping = uint64_t{256} << 20;
constexpr size_t kChunk = size_t{256} << 10;
constexpr size_t kOverlap = 16;  // more than the longest pattern

const std::string kSyscallRet = "\x0f\x05\xc3"s;
const std::string kSigreturnLong = "\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05"s;  // mov $15, %rax; syscall
const std::string kSigreturnShort = "\xb8\x0f\x00\x00\x00\x0f\x05"s;         // mov $15, %eax; syscall

void look_in(absl::string_view code, uint64_t address, CodeGadgets& gadgets) {
  const auto find = [&](const std::string& pattern, uint64_t& out) {
    if (out != 0) return;
    const size_t at = code.find(pattern);
    if (at != absl::string_view::npos) out = address + at;
  };
  find(kSyscallRet, gadgets.syscall_ret);
  find(kSigreturnLong, gadgets.rt_sigreturn);
  find(kSigreturnShort, gadgets.rt_sigreturn);
}

bool complete(const CodeGadgets& gadgets) { return gadgets.syscall_ret != 0 && gadgets.rt_sigreturn != 0; }

void scan(pid_t pid, const procfs::Mapping& mapping, CodeGadgets& gadgets) {
  const uint64_t end = std::min(mapping.end, mapping.start + kMaxScannedMapping);
  std::string chunk;
  for (uint64_t at = mapping.start; at < end && !complete(gadgets); at += kChunk) {
    chunk.resize(std::min<uint64_t>(kChunk + kOverlap, end - at));
    if (!read_memory(pid, at, chunk.data(), chunk.size()).ok()) return;  // e.g. behind the end of a truncated file
    look_in(chunk, at, gadgets);
  }
}

// Code that stays as it is while it is in use: not writable, and no [vsyscall], which the kernel emulates.
bool usable(const procfs::Mapping& mapping) {
  return (mapping.protection & PROT_EXEC) != 0 && (mapping.protection & PROT_READ) != 0 &&
         (mapping.protection & PROT_WRITE) == 0 && mapping.start < mapping.end && mapping.name != "[vsyscall]";
}

// The vDSO and the C library answer at once; the rest may be hundreds of megabytes.
int rank(const procfs::Mapping& mapping) {
  if (mapping.name == "[vdso]") return 0;
  if (absl::StrContains(mapping.name, "/libc.") || absl::StrContains(mapping.name, "/libc-")) return 1;
  if (absl::StrContains(mapping.name, "musl")) return 1;
  return mapping.name.empty() ? 3 : 2;
}

}  // namespace

absl::StatusOr<CodeGadgets> find_gadgets(pid_t pid, const std::vector<procfs::Mapping>& maps) {
  std::vector<const procfs::Mapping*> candidates;
  for (const procfs::Mapping& mapping : maps) {
    if (usable(mapping)) candidates.push_back(&mapping);
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const procfs::Mapping* a, const procfs::Mapping* b) { return rank(*a) < rank(*b); });
  CodeGadgets gadgets;
  for (const procfs::Mapping* mapping : candidates) {
    if (complete(gadgets)) break;
    scan(pid, *mapping, gadgets);
  }
  if (gadgets.syscall_ret == 0) {
    return absl::FailedPreconditionError(absl::StrCat("pid ", pid, " has no \"syscall; ret\" in its code"));
  }
  if (gadgets.rt_sigreturn == 0) {
    return absl::FailedPreconditionError(absl::StrCat("pid ", pid, " has no rt_sigreturn(2) in its code"));
  }
  return gadgets;
}

}  // namespace stillpoint
