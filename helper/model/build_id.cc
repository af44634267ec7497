#include "helper/model/build_id.h"

#include <elf.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <vector>

namespace stillpoint::model {
namespace {

constexpr size_t kMaxNotes = size_t{64} * 1024;
constexpr size_t kMaxBuildId = 64;

bool read_at(int fd, void* buffer, size_t size, uint64_t offset) {
  return ::pread(fd, buffer, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
}

constexpr uint64_t align4(uint64_t n) { return (n + 3) & ~uint64_t{3}; }

std::string hex(const unsigned char* bytes, size_t size) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < size; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

std::string build_id_in_notes(const std::vector<unsigned char>& notes) {
  uint64_t at = 0;
  while (at + sizeof(Elf64_Nhdr) <= notes.size()) {
    Elf64_Nhdr header;
    std::memcpy(&header, notes.data() + at, sizeof header);
    const uint64_t name = at + sizeof header;
    const uint64_t description = name + align4(header.n_namesz);
    const uint64_t next = description + align4(header.n_descsz);
    if (next > notes.size()) return "";
    if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == 4 && std::memcmp(notes.data() + name, "GNU", 4) == 0 &&
        header.n_descsz > 0 && header.n_descsz <= kMaxBuildId) {
      return hex(notes.data() + description, header.n_descsz);
    }
    at = next;
  }
  return "";
}

}  // namespace

ElfIdentity elf_identity(int fd) {
  ElfIdentity identity;
  Elf64_Ehdr header;
  if (!read_at(fd, &header, sizeof header, 0) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return identity;
  identity.elf = true;
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr)) return identity;
  for (unsigned i = 0; i < header.e_phnum && identity.build_id.empty(); ++i) {
    Elf64_Phdr segment;
    if (!read_at(fd, &segment, sizeof segment, header.e_phoff + i * sizeof segment)) break;
    if (segment.p_type != PT_NOTE || segment.p_filesz == 0 || segment.p_filesz > kMaxNotes) continue;
    std::vector<unsigned char> notes(segment.p_filesz);
    if (read_at(fd, notes.data(), notes.size(), segment.p_offset)) identity.build_id = build_id_in_notes(notes);
  }
  return identity;
}

}  // namespace stillpoint::model
