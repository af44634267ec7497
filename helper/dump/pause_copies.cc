#include "helper/dump/pause_copies.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"

namespace stillpoint {
namespace {

bool is_zero_page(const char* page) { return page[0] == 0 && std::memcmp(page, page + 1, kPageSize - 1) == 0; }

}  // namespace

PauseCopies::~PauseCopies() {
  for (const Block& block : blocks_) ::munmap(block.data, block.length);
}

absl::StatusOr<char*> PauseCopies::allocate(uint64_t length) {
  void* data = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return errno_status(errno, absl::StrCat("mmap of ", length, " bytes for copies"));
  blocks_.push_back({static_cast<char*>(data), length});
  return static_cast<char*>(data);
}

void PauseCopies::enter(uint64_t shared_memory, uint64_t address, const char* data, uint64_t length) {
  for (uint64_t at = 0; at < length; at += kPageSize) {
    if (is_zero_page(data + at)) continue;
    Copy* last = copies_.empty() ? nullptr : &copies_.back();
    const bool adjoins = last != nullptr && last->shared_memory == shared_memory &&
                         last->address + last->length == address + at && last->data + last->length == data + at;
    if (adjoins) {
      last->length += kPageSize;
    } else {
      copies_.push_back({shared_memory, address + at, kPageSize, data + at});
    }
  }
}

absl::Status PauseCopies::copy_mappings(pid_t pid, const AddressSpaceReader& reader, const model::AddressSpace& space) {
  for (const int index : reader.copied_in_pause()) {
    const model::Vma& vma = space.vmas(index);
    const uint64_t length = vma.end() - vma.start();
    ASSIGN_OR_RETURN(char* const data, allocate(length));
    if (reader.saved_whole().contains(vma.start())) {
      // Pages behind the end of the deleted file cannot be read by anybody.
      for (uint64_t at = 0; at < length; at += kPageSize) {
        if (!read_memory(pid, vma.start() + at, data + at, kPageSize).ok()) break;
      }
    } else {
      RETURN_IF_ERROR(read_memory(pid, vma.start(), data, length));
    }
    enter(0, vma.start(), data, length);
  }
  return absl::OkStatus();
}

absl::Status PauseCopies::copy_shared_memory(const SharedMemoryRegistry& registry) {
  for (const SharedMemoryRegistry::Object& object : registry.objects()) {
    RETURN_IF_ERROR(object.fd.valid() ? copy_object(object) : copy_through_mappings(object));
  }
  return absl::OkStatus();
}

absl::Status PauseCopies::copy_object(const SharedMemoryRegistry::Object& object) {
  const model::SharedMemory& memory = object.message;
  const off_t size = static_cast<off_t>(memory.size());
  for (off_t at = 0; at < size;) {
    const off_t begin = ::lseek(object.fd.get(), at, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) break;  // only a hole is left
    if (begin < 0) return errno_status(errno, absl::StrCat("lseek(SEEK_DATA) in memfd ", memory.name()));
    off_t end = ::lseek(object.fd.get(), begin, SEEK_HOLE);
    if (end < 0) return errno_status(errno, absl::StrCat("lseek(SEEK_HOLE) in memfd ", memory.name()));
    end = std::min(end, size);
    const uint64_t first = page_floor(static_cast<uint64_t>(begin));
    const uint64_t length = page_ceil(static_cast<uint64_t>(end)) - first;
    ASSIGN_OR_RETURN(char* const data, allocate(length));
    RETURN_IF_ERROR(pread_all(object.fd.get(), data, static_cast<uint64_t>(end) - first, first,
                              absl::StrCat("memfd ", memory.name())));
    enter(memory.id(), first, data, length);
    at = end;
  }
  return absl::OkStatus();
}

absl::Status PauseCopies::copy_through_mappings(const SharedMemoryRegistry::Object& object) {
  std::vector<procfs::Mapping> mappings = object.mappings;
  std::sort(mappings.begin(), mappings.end(),
            [](const procfs::Mapping& a, const procfs::Mapping& b) { return a.offset < b.offset; });
  uint64_t done = 0;  // offset up to which the object is copied
  for (const procfs::Mapping& mapping : mappings) {
    const uint64_t end = mapping.offset + (mapping.end - mapping.start);
    const uint64_t begin = std::max(done, mapping.offset);
    if (end <= begin) continue;
    ASSIGN_OR_RETURN(char* const data, allocate(end - begin));
    RETURN_IF_ERROR(read_memory(object.mapped_by, mapping.start + (begin - mapping.offset), data, end - begin));
    enter(object.message.id(), begin, data, end - begin);
    done = end;
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
