#include "helper/anchor/scan.h"

#include <elf.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/protocol/anchor.h"

namespace stillpoint {
namespace {

using procfs::Mapping;
using protocol::Anchor;

constexpr size_t kMaxProgramHeaders = 256;
constexpr uint64_t kMaxNoteBytes = uint64_t{64} * 1024;
constexpr size_t kMaxAnchors = 64;

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

}  // namespace

std::vector<uint64_t> scan_for_anchors(const std::vector<Mapping>& maps, const MemoryReader& read) {
  return AnchorScanner(maps, read).scan();
}

}  // namespace stillpoint
