#include <array>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {
namespace {

using Reader = bool (*)(absl::string_view value, TaskStatus& out);

struct Field {
  absl::string_view key;
  bool required;  // on every task of every kernel since 5.14; the others depend on configuration or on a live mm
  Reader read;
};

// The name with "\n" and "\\" undone, the two escapes that this file uses.
std::string unescape_name(absl::string_view name) {
  std::string result;
  result.reserve(name.size());
  for (size_t i = 0; i < name.size(); ++i) {
    const char next = i + 1 < name.size() ? name[i + 1] : '\0';
    if (name[i] == '\\' && (next == 'n' || next == '\\')) {
      result.push_back(next == 'n' ? '\n' : '\\');
      ++i;
    } else {
      result.push_back(name[i]);
    }
  }
  return result;
}

bool read_name(absl::string_view value, TaskStatus& out) {
  out.name = unescape_name(value);
  return true;
}

bool read_state(absl::string_view value, TaskStatus& out) {
  if (value.empty()) return false;
  out.state = value.front();
  return true;
}

template <auto kMember>
bool read_decimal(absl::string_view value, TaskStatus& out) {
  return whole_number(trim_blanks(value), out.*kMember);
}

template <auto kMember>
bool read_hex(absl::string_view value, TaskStatus& out) {
  return whole_number(trim_blanks(value), out.*kMember, 16);
}

template <auto kMember>
bool read_flag(absl::string_view value, TaskStatus& out) {
  value = trim_blanks(value);
  out.*kMember = value == "1";
  return value == "0" || value == "1";
}

bool read_ids(absl::string_view value, std::array<uint32_t*, 4> ids) {
  for (uint32_t* id : ids) {
    if (!whole_number(take_word(value), *id)) return false;
  }
  return trim_blanks(value).empty();
}

bool read_uids(absl::string_view value, TaskStatus& out) {
  return read_ids(value, {&out.uid, &out.euid, &out.suid, &out.fsuid});
}

bool read_gids(absl::string_view value, TaskStatus& out) {
  return read_ids(value, {&out.gid, &out.egid, &out.sgid, &out.fsgid});
}

template <auto kMember>
bool read_list(absl::string_view value, TaskStatus& out) {
  auto& list = out.*kMember;
  for (absl::string_view word = take_word(value); !word.empty(); word = take_word(value)) {
    if (!whole_number(word, list.emplace_back())) return false;
  }
  return true;
}

bool read_umask(absl::string_view value, TaskStatus& out) {
  return whole_number(trim_blanks(value), out.umask, 8) && out.umask <= 0777;
}

bool read_locked(absl::string_view value, TaskStatus& out) {
  return whole_number(take_word(value), out.locked_kib) && take_word(value) == "kB";
}

bool read_thread_features(absl::string_view value, TaskStatus& out) {
  out.x86_thread_features = std::string(trim_blanks(value));
  return true;
}

constexpr Field kFields[] = {
    {"Name", true, &read_name},
    {"Umask", false, &read_umask},
    {"State", true, &read_state},
    {"Tgid", true, &read_decimal<&TaskStatus::thread_group>},
    {"Pid", true, &read_decimal<&TaskStatus::pid>},
    {"PPid", true, &read_decimal<&TaskStatus::parent_pid>},
    {"TracerPid", true, &read_decimal<&TaskStatus::tracer_pid>},
    {"Uid", true, &read_uids},
    {"Gid", true, &read_gids},
    {"Groups", true, &read_list<&TaskStatus::groups>},
    {"NSpid", false, &read_list<&TaskStatus::namespace_pids>},
    {"VmLck", false, &read_locked},
    {"CoreDumping", false, &read_decimal<&TaskStatus::core_dumping>},
    {"THP_enabled", false, &read_flag<&TaskStatus::thp_enabled>},
    {"SigPnd", true, &read_hex<&TaskStatus::pending>},
    {"ShdPnd", true, &read_hex<&TaskStatus::shared_pending>},
    {"SigBlk", true, &read_hex<&TaskStatus::blocked>},
    {"SigIgn", true, &read_hex<&TaskStatus::ignored>},
    {"SigCgt", true, &read_hex<&TaskStatus::caught>},
    {"CapInh", true, &read_hex<&TaskStatus::cap_inheritable>},
    {"CapPrm", true, &read_hex<&TaskStatus::cap_permitted>},
    {"CapEff", true, &read_hex<&TaskStatus::cap_effective>},
    {"CapBnd", true, &read_hex<&TaskStatus::cap_bounding>},
    {"CapAmb", true, &read_hex<&TaskStatus::cap_ambient>},
    {"NoNewPrivs", true, &read_flag<&TaskStatus::no_new_privs>},
    {"Seccomp", false, &read_decimal<&TaskStatus::seccomp>},
    {"x86_Thread_features", false, &read_thread_features},
};
constexpr size_t kFieldCount = std::size(kFields);

// The index in kFields, or kFieldCount.
size_t find_field(absl::string_view key) {
  size_t index = 0;
  while (index < kFieldCount && kFields[index].key != key) ++index;
  return index;
}

}  // namespace

absl::StatusOr<TaskStatus> parse_status(absl::string_view text) {
  TaskStatus status;
  std::array<bool, kFieldCount> seen = {};
  Lines lines(text);
  absl::string_view line;
  while (lines.next(line)) {
    absl::string_view value = line;
    const size_t index = find_field(take_until(value, ':'));
    if (index == kFieldCount) continue;
    if (seen[index]) return malformed("status", lines.number(), "no second line of this name", line);
    seen[index] = true;
    // Exactly one tab follows the colon; a name may begin with more.
    if (!take(value, '\t') || !kFields[index].read(value, status)) {
      return malformed("status", lines.number(), absl::StrCat("value of ", kFields[index].key), line);
    }
  }
  for (size_t i = 0; i < kFieldCount; ++i) {
    if (kFields[i].required && !seen[i]) {
      return absl::InvalidArgumentError(absl::StrCat("status has no line ", kFields[i].key));
    }
  }
  return status;
}

absl::StatusOr<TaskStatus> read_status(pid_t pid, pid_t tid) {
  const std::string path = task_path(pid, tid, "status");
  ASSIGN_OR_RETURN(const std::string text, read_text(path));
  absl::StatusOr<TaskStatus> status = parse_status(text);
  if (!status.ok()) return with_context(status.status(), path);
  return status;
}

}  // namespace stillpoint::procfs
