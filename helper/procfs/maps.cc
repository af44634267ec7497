#include <sys/mman.h>
#include <sys/sysmacros.h>

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {
namespace {

constexpr uint64_t kPageMask = 4095;
// A map line without a name is about this long; only used to reserve.
constexpr size_t kTypicalLineLength = 70;
// How often a live process is read again when its mappings change in between.
constexpr int kReadAttempts = 10;

bool take_permission(absl::string_view& line, char letter, uint32_t bit, uint32_t& protection) {
  if (take(line, letter)) {
    protection |= bit;
    return true;
  }
  return take(line, '-');
}

bool take_permissions(absl::string_view& line, Mapping& mapping) {
  if (!take_permission(line, 'r', PROT_READ, mapping.protection)) return false;
  if (!take_permission(line, 'w', PROT_WRITE, mapping.protection)) return false;
  if (!take_permission(line, 'x', PROT_EXEC, mapping.protection)) return false;
  mapping.shared = !line.empty() && line.front() == 's';
  return take(line, 's') || take(line, 'p');
}

// What the line lacks, or nullptr when it is complete.
const char* parse_line(absl::string_view line, Mapping& mapping) {
  if (!take_number(line, mapping.start, 16) || !take(line, '-') || !take_number(line, mapping.end, 16)) {
    return "address range";
  }
  if (mapping.start >= mapping.end || ((mapping.start | mapping.end) & kPageMask) != 0) {
    return "ascending range of whole pages";
  }
  if (!take(line, ' ') || !take_permissions(line, mapping)) return "permissions";
  if (!take(line, ' ') || !take_number(line, mapping.offset, 16)) return "offset";
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  if (!take(line, ' ') || !take_number(line, device_major, 16) || !take(line, ':') ||
      !take_number(line, device_minor, 16)) {
    return "device";
  }
  mapping.device = makedev(device_major, device_minor);
  if (!take(line, ' ') || !take_number(line, mapping.inode)) return "inode";
  if (!line.empty() && !take(line, ' ')) return "blank before the name";
  // No name begins with a blank: a path has its slash, everything else a bracket or a letter.
  while (take(line, ' ')) {
  }
  mapping.name = unescape_octal(line, "\n");
  return nullptr;
}

// Appends the mapping that `line` describes. ABORTED when it does not follow the one before it.
absl::Status append_mapping(absl::string_view file, const Lines& lines, absl::string_view line,
                            std::vector<Mapping>& mappings) {
  Mapping mapping;
  if (const char* missing = parse_line(line, mapping); missing != nullptr) {
    return malformed(file, lines.number(), missing, line);
  }
  if (!mappings.empty() && mapping.start < mappings.back().end) {
    return absl::AbortedError(malformed(file, lines.number(), "address above the mapping before it", line).message());
  }
  mappings.push_back(std::move(mapping));
  return absl::OkStatus();
}

bool is_smaps_field(absl::string_view line) { return !line.empty() && line.front() >= 'A' && line.front() <= 'Z'; }

// "KernelPageSize:        4 kB", in KiB.
bool parse_page_size(absl::string_view value, uint64_t& bytes) {
  uint64_t kib = 0;
  if (!whole_number(take_word(value), kib) || take_word(value) != "kB" || !trim_blanks(value).empty()) return false;
  if (kib == 0 || kib > std::numeric_limits<uint64_t>::max() / 1024) return false;
  bytes = kib * 1024;
  return true;
}

struct SmapsSeen {
  bool page_size = false;
  bool vm_flags = false;
};

absl::Status parse_smaps_field(const Lines& lines, absl::string_view line, Mapping& mapping, SmapsSeen& seen) {
  absl::string_view value = line;
  if (absl::ConsumePrefix(&value, "KernelPageSize:")) {
    seen.page_size = true;
    if (!parse_page_size(value, mapping.kernel_page_size))
      return malformed("smaps", lines.number(), "size in kB", line);
  } else if (absl::ConsumePrefix(&value, "ProtectionKey:")) {
    if (!whole_number(trim_blanks(value), mapping.protection_key)) {
      return malformed("smaps", lines.number(), "protection key", line);
    }
  } else if (absl::ConsumePrefix(&value, "VmFlags:")) {
    seen.vm_flags = true;
    for (absl::string_view flag = take_word(value); !flag.empty(); flag = take_word(value)) {
      mapping.vm_flags.emplace_back(flag);
    }
  }
  return absl::OkStatus();
}

// A mapping whose flags are unknown would be restored without them: that is an error, not an empty list.
absl::Status check_smaps_fields(const std::vector<Mapping>& mappings, const SmapsSeen& seen) {
  if (mappings.empty() || (seen.page_size && seen.vm_flags)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("smaps: mapping at 0x", absl::Hex(mappings.back().start), " has no ",
                                                 seen.page_size ? "VmFlags" : "KernelPageSize"));
}

using Parser = absl::StatusOr<std::vector<Mapping>> (*)(absl::string_view);

// A process that runs may merge two mappings while the kernel is between them.
absl::StatusOr<std::vector<Mapping>> read_mappings(const std::string& path, Parser parse) {
  for (int attempt = 1;; ++attempt) {
    ASSIGN_OR_RETURN(const std::string text, read_text(path));
    absl::StatusOr<std::vector<Mapping>> mappings = parse(text);
    if (mappings.ok()) return mappings;
    if (!absl::IsAborted(mappings.status()) || attempt == kReadAttempts) return with_context(mappings.status(), path);
  }
}

}  // namespace

absl::StatusOr<std::vector<Mapping>> parse_maps(absl::string_view text) {
  std::vector<Mapping> mappings;
  mappings.reserve(text.size() / kTypicalLineLength + 1);
  Lines lines(text);
  absl::string_view line;
  while (lines.next(line)) RETURN_IF_ERROR(append_mapping("maps", lines, line, mappings));
  return mappings;
}

absl::StatusOr<std::vector<Mapping>> parse_smaps(absl::string_view text) {
  std::vector<Mapping> mappings;
  SmapsSeen seen;
  Lines lines(text);
  absl::string_view line;
  while (lines.next(line)) {
    if (!is_smaps_field(line)) {
      RETURN_IF_ERROR(check_smaps_fields(mappings, seen));
      RETURN_IF_ERROR(append_mapping("smaps", lines, line, mappings));
      seen = SmapsSeen();
    } else if (mappings.empty()) {
      return malformed("smaps", lines.number(), "mapping", line);
    } else {
      RETURN_IF_ERROR(parse_smaps_field(lines, line, mappings.back(), seen));
    }
  }
  RETURN_IF_ERROR(check_smaps_fields(mappings, seen));
  return mappings;
}

absl::StatusOr<std::vector<Mapping>> read_maps(pid_t pid) {
  return read_mappings(process_path(pid, "maps"), &parse_maps);
}

absl::StatusOr<std::vector<Mapping>> read_smaps(pid_t pid) {
  return read_mappings(process_path(pid, "smaps"), &parse_smaps);
}

}  // namespace stillpoint::procfs
