#include "helper/restore/vdso.h"

#include <elf.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"

namespace stillpoint {
namespace {

struct Fallback {
  const char* name;
  uint32_t number;
};
constexpr Fallback kFallbacks[] = {
    {"clock_gettime", SYS_clock_gettime},
    {"gettimeofday", SYS_gettimeofday},
    {"time", SYS_time},
    {"getcpu", SYS_getcpu},
    {"clock_getres", SYS_clock_getres},
    {"getrandom", SYS_getrandom},
};
constexpr size_t kJumpSize = 12;

template <typename T>
bool read_at(absl::string_view bytes, uint64_t offset, T& out) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof out) return false;
  std::memcpy(&out, bytes.data() + offset, sizeof out);
  return true;
}

// Where the dynamic section says that the symbol and string tables are; a vDSO is linked at 0.
struct DynamicTables {
  uint64_t symbols = 0;
  uint64_t strings = 0;
};

DynamicTables find_tables(absl::string_view elf) {
  DynamicTables tables;
  Elf64_Ehdr header;
  if (!read_at(elf, 0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return tables;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!read_at(elf, header.e_phoff + i * sizeof segment, segment)) break;
    if (segment.p_type != PT_DYNAMIC) continue;
    Elf64_Dyn entry;
    for (uint64_t at = segment.p_offset; read_at(elf, at, entry) && entry.d_tag != DT_NULL; at += sizeof entry) {
      if (entry.d_tag == DT_SYMTAB) tables.symbols = entry.d_un.d_ptr;
      if (entry.d_tag == DT_STRTAB) tables.strings = entry.d_un.d_ptr;
    }
  }
  return tables;
}

std::string jump_to(uint64_t target) {
  std::string code = "\x48\xb8";  // movabs $target, %rax
  code.append(reinterpret_cast<const char*>(&target), sizeof target);
  code += "\xff\xe0";  // jmp *%rax
  return code;
}

std::string plain_system_call(uint32_t number) {
  std::string code = "\xb8";  // mov $number, %eax
  code.append(reinterpret_cast<const char*>(&number), sizeof number);
  code += "\x0f\x05\xc3";  // syscall; ret
  return code;
}

std::string code_for(const std::string& name, const std::map<std::string, uint64_t>& functions, uint64_t new_base) {
  if (const auto found = functions.find(name); found != functions.end()) return jump_to(new_base + found->second);
  const absl::string_view plain = absl::StripPrefix(name, "__vdso_");
  for (const Fallback& fallback : kFallbacks) {
    if (plain == fallback.name) return plain_system_call(fallback.number);
  }
  return "";
}

struct Group {
  uint64_t start = 0, vdso = 0, end = 0;
  std::vector<procfs::Mapping> mappings;
};

Group find_group(const std::vector<procfs::Mapping>& now) {
  Group group;
  for (const procfs::Mapping& mapping : now) {
    if (mapping.name != "[vdso]" && !absl::StartsWith(mapping.name, "[vvar")) continue;
    if (group.mappings.empty()) group.start = mapping.start;
    if (mapping.name == "[vdso]") group.vdso = mapping.start;
    group.end = mapping.end;
    group.mappings.push_back(mapping);
  }
  return group;
}

void plan_move(Group& group, uint64_t destination, CallList& calls) {
  const uint64_t from = group.start;
  for (procfs::Mapping& mapping : group.mappings) {
    const uint64_t target = destination + (mapping.start - from);
    const uint64_t length = mapping.end - mapping.start;
    if (target != mapping.start) {
      calls.add(absl::StrCat("mremap of ", mapping.name, " to ", absl::Hex(target)), SYS_mremap,
                {mapping.start, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, target});
    }
    mapping.start = target;
    mapping.end = target + length;
  }
  group.vdso += destination - from;
  group.end += destination - from;
  group.start = destination;
}

absl::Status check_no_thread_inside(const model::Process& process, const model::Vdso& vdso) {
  for (const model::Thread& thread : process.threads()) {
    uint64_t rip = 0;  // struct user_regs_struct: 17th register
    if (!read_at(thread.general_registers(), 16 * sizeof rip, rip)) continue;
    if (rip >= vdso.vdso_start() && rip < vdso.vdso_end()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "tid ", thread.tid(), " was stopped inside the vDSO, and this kernel's vDSO differs from the image's; ",
          "restart on the kernel the image was made on, or restart an older or newer image"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::map<std::string, uint64_t> vdso_functions(absl::string_view elf) {
  std::map<std::string, uint64_t> functions;
  const DynamicTables tables = find_tables(elf);
  if (tables.symbols == 0 || tables.strings <= tables.symbols || tables.strings >= elf.size()) return functions;
  Elf64_Sym symbol;
  // The string table follows the symbol table in every vDSO: there is no other record of the latter's size than hash
  // tables.
  for (uint64_t at = tables.symbols; at + sizeof symbol <= tables.strings && read_at(elf, at, symbol);
       at += sizeof symbol) {
    if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_value == 0 || symbol.st_value >= elf.size()) continue;
    const uint64_t name = tables.strings + symbol.st_name;
    if (name >= elf.size()) continue;
    const absl::string_view rest = elf.substr(name);
    const size_t length = rest.find('\0');
    if (length == absl::string_view::npos || length == 0) continue;
    functions[std::string(rest.substr(0, length))] = symbol.st_value;
  }
  return functions;
}

absl::StatusOr<std::string> vdso_with_stubs(absl::string_view old_elf, absl::string_view new_elf, uint64_t new_base) {
  const std::map<std::string, uint64_t> old_functions = vdso_functions(old_elf);
  const std::map<std::string, uint64_t> new_functions = vdso_functions(new_elf);
  if (old_functions.empty()) return absl::DataLossError("the image's vDSO has no symbols");
  std::string result(old_elf);
  for (const auto& [name, offset] : old_functions) {
    const std::string code = code_for(name, new_functions, new_base);
    if (code.empty()) continue;  // a function nobody calls by that name any more: __vdso_sgx_enter_enclave
    if (offset + kJumpSize > result.size()) return absl::DataLossError("the image's vDSO is malformed");
    result.replace(offset, code.size(), code);
  }
  return result;
}

absl::StatusOr<VdsoPlan> plan_vdso(const model::Process& process, const model::AddressSpace& space,
                                   const std::vector<procfs::Mapping>& now, absl::string_view current,
                                   uint64_t free_address, CallList& calls) {
  VdsoPlan plan;
  Group group = find_group(now);
  if (!space.has_vdso() || space.vdso().vdso_start() == 0) {
    for (const procfs::Mapping& mapping : group.mappings) {
      calls.add("munmap of the vDSO", SYS_munmap, {mapping.start, mapping.end - mapping.start});
    }
    return plan;
  }
  const model::Vdso& old = space.vdso();
  if (group.vdso == 0 || group.end - group.start > kVdsoRoom) {
    return absl::FailedPreconditionError("the new task has no vDSO (vdso=0 on the kernel command line?)");
  }
  const bool same = old.content() == current && old.vdso_start() - old.vvar_start() == group.vdso - group.start &&
                    !feature_disabled("vdso_mremap");
  plan_move(group, free_address, calls);  // out of the way first: old and new places may overlap
  if (same) {
    plan_move(group, old.vvar_start(), calls);
    return plan;
  }
  RETURN_IF_ERROR(check_no_thread_inside(process, old));
  plan.stubs = true;
  plan.stub_address = old.vdso_start();
  ASSIGN_OR_RETURN(plan.stub_bytes, vdso_with_stubs(old.content(), current, group.vdso));
  const uint64_t length = old.vdso_end() - old.vdso_start();
  if (length != plan.stub_bytes.size()) return absl::DataLossError("the image's vDSO has the wrong size");
  calls
      .add("mmap of vDSO stubs", SYS_mmap,
           {old.vdso_start(), length, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0})
      .must_return_argument0 = true;
  return plan;
}

}  // namespace stillpoint
