#include "tools/program_anchor.h"

#include <elf.h>
#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/unique_fd.h"
#include "tools/console.h"

namespace stillpoint::tools {
namespace {

using procfs::Mapping;
using protocol::Anchor;

constexpr size_t kMaxProgramHeaders = 256;
constexpr uint64_t kMaxNoteBytes = uint64_t{64} * 1024;
constexpr size_t kMaxAnchors = 64;
constexpr absl::Duration kPollInterval = absl::Milliseconds(20);

// True when [address, address + size) lies within mappings that have `protection`, without a hole.
bool mapped(const std::vector<Mapping>& maps, uint64_t address, uint64_t size, uint32_t protection) {
  if (size == 0 || address + size < address) return false;
  uint64_t at = address;
  for (const Mapping& mapping : maps) {
    if (mapping.end <= at) continue;
    if (mapping.start > at || (mapping.protection & protection) != protection) return false;
    at = mapping.end;
    if (at >= address + size) return true;
  }
  return false;
}

class AnchorScanner {
 public:
  AnchorScanner(const std::vector<Mapping>& maps, const MemoryReader& read) : maps_(maps), read_(read) {}

  std::vector<uint64_t> scan() {
    for (const Mapping& mapping : maps_) {
      const bool file_start = mapping.inode != 0 && mapping.offset == 0 && (mapping.protection & PROT_READ) != 0;
      if (file_start) scan_elf(mapping);
      if (anchors_.size() >= kMaxAnchors) break;
    }
    std::sort(anchors_.begin(), anchors_.end());
    anchors_.erase(std::unique(anchors_.begin(), anchors_.end()), anchors_.end());
    return std::move(anchors_);
  }

 private:
  bool fetch(uint64_t address, void* buffer, uint64_t size) {
    return mapped(maps_, address, size, PROT_READ) && read_(address, buffer, size).ok();
  }

  void scan_elf(const Mapping& mapping) {
    Elf64_Ehdr header;
    if (!fetch(mapping.start, &header, sizeof header)) return;
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_X86_64 ||
        header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > kMaxProgramHeaders) {
      return;
    }
    std::vector<Elf64_Phdr> headers(header.e_phnum);
    const uint64_t address = mapping.start + header.e_phoff;  // an overflow ends outside of every mapping
    if (!fetch(address, headers.data(), headers.size() * sizeof(Elf64_Phdr))) return;
    const auto first_load = std::find_if(headers.begin(), headers.end(), [](const Elf64_Phdr& p) {
      return p.p_type == PT_LOAD && page_floor(p.p_offset) == 0;
    });
    if (first_load == headers.end()) return;
    const uint64_t bias = mapping.start - page_floor(first_load->p_vaddr);
    for (const Elf64_Phdr& program : headers) {
      if (program.p_type == PT_NOTE && program.p_memsz <= kMaxNoteBytes) scan_notes(bias + program.p_vaddr, program);
    }
  }

  // Linkers put notes of different alignment into one segment, with padding between them: every place where a note
  // can begin is looked at, instead of walking from one to the next.
  void scan_notes(uint64_t address, const Elf64_Phdr& program) {
    constexpr size_t kNameAt = sizeof(Elf64_Nhdr);
    constexpr size_t kDescriptorAt = (kNameAt + sizeof protocol::kAnchorNoteName + 3) / 4 * 4;
    constexpr size_t kNoteSize = kDescriptorAt + sizeof(uint64_t);
    std::vector<char> notes(program.p_memsz);
    if (notes.empty() || !fetch(address, notes.data(), notes.size())) return;
    for (size_t at = 0; at + kNoteSize <= notes.size(); at += 4) {
      Elf64_Nhdr note;
      std::memcpy(&note, &notes[at], sizeof note);
      const bool ours = note.n_type == protocol::kAnchorNoteType && note.n_descsz == sizeof(uint64_t) &&
                        note.n_namesz == sizeof protocol::kAnchorNoteName &&
                        std::memcmp(&notes[at + kNameAt], protocol::kAnchorNoteName, note.n_namesz) == 0;
      if (!ours) continue;
      uint64_t distance;  // signed, but sums wrap all the same
      std::memcpy(&distance, &notes[at + kDescriptorAt], sizeof distance);
      consider(address + at + kDescriptorAt + distance);
    }
  }

  void consider(uint64_t address) {
    if (address % alignof(Anchor) != 0 || !mapped(maps_, address, sizeof(Anchor), PROT_READ | PROT_WRITE)) return;
    Anchor head;
    if (!fetch(address, &head, offsetof(Anchor, request_directory))) return;
    if (head.magic != protocol::kAnchorMagic || head.version != protocol::kAnchorVersion) return;
    if (head.size < sizeof(Anchor) || anchors_.size() >= kMaxAnchors) return;
    anchors_.push_back(address);
  }

  const std::vector<Mapping>& maps_;
  const MemoryReader& read_;
  std::vector<uint64_t> anchors_;
};

template <typename T>
absl::StatusOr<T> read_field(pid_t pid, uint64_t anchor, size_t offset) {
  T value;
  RETURN_IF_ERROR(read_memory(pid, anchor + offset, &value, sizeof value));
  return value;
}

absl::StatusOr<std::string> read_text_field(pid_t pid, uint64_t anchor, size_t offset, size_t size) {
  std::string text(size, '\0');
  RETURN_IF_ERROR(read_memory(pid, anchor + offset, text.data(), size));
  return text.substr(0, text.find('\0'));
}

#define STILLPOINT_ANCHOR_TEXT(pid, anchor, field) \
  read_text_field(pid, anchor, offsetof(Anchor, field), sizeof(Anchor::field))

// The program's word: whatever it wrote there is text to us.
absl::StatusOr<protocol::FindingList> read_findings(pid_t pid, uint64_t anchor) {
  std::string text(sizeof(Anchor::done_findings), '\0');
  RETURN_IF_ERROR(read_memory(pid, anchor + offsetof(Anchor, done_findings), text.data(), text.size()));
  const std::vector<std::string> parts = absl::StrSplit(text, '\0');
  protocol::FindingList findings;
  for (size_t i = 0; i + 4 < parts.size() && !parts[i].empty(); i += 4) {
    protocol::Finding& finding = *findings.add_findings();
    finding.set_code(parts[i]);
    finding.set_object(parts[i + 1]);
    finding.set_reason(parts[i + 2]);
    finding.set_remedy(parts[i + 3]);
  }
  return findings;
}

absl::StatusOr<AnchorAnswer> read_answer(pid_t pid, uint64_t anchor) {
  ASSIGN_OR_RETURN(const int32_t code, read_field<int32_t>(pid, anchor, offsetof(Anchor, done_code)));
  ASSIGN_OR_RETURN(const std::string message, STILLPOINT_ANCHOR_TEXT(pid, anchor, done_message));
  if (code != 0) {
    ASSIGN_OR_RETURN(const protocol::FindingList findings, read_findings(pid, anchor));
    return with_findings(absl::FailedPreconditionError(absl::StrCat("checkpoint in pid ", pid, ": ", message)),
                         findings);
  }
  ASSIGN_OR_RETURN(std::string image, STILLPOINT_ANCHOR_TEXT(pid, anchor, done_image));
  return AnchorAnswer{std::move(image)};
}

absl::StatusOr<uint64_t> write_request(pid_t pid, uint64_t anchor, const AnchorRequest& request) {
  char directory[sizeof(Anchor::request_directory)] = {};
  if (request.directory.size() >= sizeof directory) {
    return absl::InvalidArgumentError(absl::StrCat("the path ", request.directory, " is longer than a program that ",
                                                   "links the SDK can be told (", sizeof directory - 1, " bytes)"));
  }
  std::memcpy(directory, request.directory.data(), request.directory.size());
  ASSIGN_OR_RETURN(const uint64_t asked, read_field<uint64_t>(pid, anchor, offsetof(Anchor, request_sequence)));
  ASSIGN_OR_RETURN(const uint64_t done, read_field<uint64_t>(pid, anchor, offsetof(Anchor, done_sequence)));
  const uint64_t sequence = std::max(asked, done) + 1;
  const uint32_t stop = request.stop ? 1 : 0;
  RETURN_IF_ERROR(write_memory(pid, anchor + offsetof(Anchor, request_directory), directory, sizeof directory));
  RETURN_IF_ERROR(write_memory(pid, anchor + offsetof(Anchor, request_stop), &stop, sizeof stop));
  RETURN_IF_ERROR(write_memory(pid, anchor + offsetof(Anchor, request_sequence), &sequence, sizeof sequence));
  return sequence;
}

// The program must not be checkpointed, let alone stopped, hours later for somebody who stopped waiting.
void withdraw(pid_t pid, uint64_t anchor, uint64_t sequence) {
  const absl::StatusOr<uint64_t> asked = read_field<uint64_t>(pid, anchor, offsetof(Anchor, request_sequence));
  const absl::StatusOr<uint64_t> done = read_field<uint64_t>(pid, anchor, offsetof(Anchor, done_sequence));
  if (!asked.ok() || !done.ok() || *asked != sequence) return;
  (void)write_memory(pid, anchor + offsetof(Anchor, request_sequence), &*done, sizeof *done);
}

}  // namespace

std::vector<uint64_t> scan_for_anchors(const std::vector<Mapping>& maps, const MemoryReader& read) {
  return AnchorScanner(maps, read).scan();
}

absl::StatusOr<std::optional<uint64_t>> find_anchor(pid_t pid) {
  const absl::StatusOr<std::vector<Mapping>> found = procfs::read_maps(pid);
  if (absl::IsPermissionDenied(found.status())) {
    return absl::PermissionDeniedError(absl::StrCat(
        "pid ", pid, " is not yours to look into: ", found.status().message(), "; run as its user or root"));
  }
  RETURN_IF_ERROR(found.status());
  const std::vector<Mapping>& maps = *found;
  absl::Status denied;
  const std::vector<uint64_t> anchors = scan_for_anchors(maps, [&](uint64_t address, void* buffer, size_t size) {
    absl::Status status = read_memory(pid, address, buffer, size);
    if (absl::IsPermissionDenied(status)) denied = status;
    return status;
  });
  std::optional<uint64_t> busiest;
  uint64_t most_calls = 0;
  for (const uint64_t anchor : anchors) {
    const absl::StatusOr<uint64_t> calls = read_field<uint64_t>(pid, anchor, offsetof(Anchor, calls));
    if (!calls.ok() || (busiest && *calls <= most_calls)) continue;
    busiest = anchor;
    most_calls = *calls;
  }
  if (!busiest && !denied.ok()) {
    return absl::PermissionDeniedError(
        absl::StrCat("cannot see whether pid ", pid, " links the SDK: ", denied.message(),
                     "; run as its user or root, allow it under Yama (kernel.yama.ptrace_scope), or pass --no-hooks"));
  }
  return busiest;
}

absl::StatusOr<AnchorAnswer> request_through_anchor(pid_t pid, uint64_t anchor, const AnchorRequest& request) {
  const UniqueFd pidfd(sys_pidfd_open(pid, 0));
  if (!pidfd.valid()) return errno_status(errno, absl::StrCat("pidfd_open of pid ", pid));
  ASSIGN_OR_RETURN(const uint64_t calls_before, read_field<uint64_t>(pid, anchor, offsetof(Anchor, calls)));
  ASSIGN_OR_RETURN(const uint64_t sequence, write_request(pid, anchor, request));
  const absl::Time deadline = absl::Now() + request.wait;
  for (;;) {
    pollfd ended = {pidfd.get(), POLLIN, 0};
    const int ready = ::poll(&ended, 1, static_cast<int>(absl::ToInt64Milliseconds(kPollInterval)));
    if (ready < 0 && errno != EINTR) return errno_status(errno, absl::StrCat("poll on the pidfd of pid ", pid));
    const absl::StatusOr<uint64_t> done = read_field<uint64_t>(pid, anchor, offsetof(Anchor, done_sequence));
    if (done.ok() && *done >= sequence) return read_answer(pid, anchor);
    if (ready > 0) return absl::NotFoundError(absl::StrCat("pid ", pid, " ended before it answered"));
    if (!done.ok()) return with_context(done.status(), absl::StrCat("answer of pid ", pid));
    if (absl::Now() < deadline) continue;
    const absl::StatusOr<uint64_t> calls = read_field<uint64_t>(pid, anchor, offsetof(Anchor, calls));
    withdraw(pid, anchor, sequence);
    const bool calls_on = calls.ok() && *calls != calls_before;
    return absl::DeadlineExceededError(absl::StrCat(
        "pid ", pid,
        calls_on ? " is in its checkpoint, which took longer than " : " reached no checkpoint() or poll() within ",
        absl::FormatDuration(request.wait), "; wait longer with --wait, or bypass its hooks with --no-hooks"));
  }
}

}  // namespace stillpoint::tools
