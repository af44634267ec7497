#include "helper/dump/pause_copies.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/dump/resident_pages.h"
#include "helper/memory/available_memory.h"
#include "helper/memory/excluded.h"
#include "helper/memory/pagemap.h"

namespace stillpoint {
namespace {

// What the helper leaves to everybody else.
constexpr uint64_t kReserve = uint64_t{64} << 20;

// Pages behind the end of a mapped file cannot be read by anybody, those before it can.
uint64_t readable_end(pid_t pid, Range range) {
  uint64_t good = range.start, bad = range.end;  // addresses below `good` can be read
  char byte;
  if (range.size() == 0 || read_memory(pid, range.end - kPageSize, &byte, 1).ok()) return range.end;
  while (good < bad) {
    const uint64_t middle = page_floor(good + (bad - good) / 2);
    if (read_memory(pid, middle, &byte, 1).ok()) {
      good = middle + kPageSize;
    } else {
      bad = middle;
    }
  }
  return good;
}

std::vector<Range> intersect(const std::vector<Range>& ranges, Range with) {
  std::vector<Range> common;
  for (const Range& range : ranges) {
    append_range(common, {std::max(range.start, with.start), std::min(range.end, with.end)});
  }
  return common;
}

// Runs of data between holes, as offsets.
absl::StatusOr<std::vector<Range>> data_in_file(int fd, uint64_t size, absl::string_view name) {
  std::vector<Range> ranges;
  const off_t offset = ::lseek(fd, 0, SEEK_CUR);
  for (off_t at = 0; at < static_cast<off_t>(size);) {
    const off_t begin = ::lseek(fd, at, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) break;  // only a hole is left
    if (begin < 0) return errno_status(errno, absl::StrCat("lseek(SEEK_DATA) in memfd ", name));
    const off_t end = ::lseek(fd, begin, SEEK_HOLE);
    if (end < 0) return errno_status(errno, absl::StrCat("lseek(SEEK_HOLE) in memfd ", name));
    append_range(ranges,
                 {page_floor(static_cast<uint64_t>(begin)), page_ceil(std::min(static_cast<uint64_t>(end), size))});
    at = end;
  }
  // Of the program's own description, where the memfd's mode allows no other.
  if (offset >= 0 && ::lseek(fd, offset, SEEK_SET) < 0)
    return errno_status(errno, absl::StrCat("lseek in memfd ", name));
  return ranges;
}

}  // namespace

PauseCopies::~PauseCopies() {
  for (const Block& block : blocks_) ::munmap(block.data, block.length);
}

void PauseCopies::add_of_process(const std::vector<Range>& ranges) {
  for (const Range& range : subtract(ranges, excluded_)) {
    pieces_.push_back({.address = range.start, .length = range.size(), .source = range.start});
  }
}

absl::Status PauseCopies::find_in_mappings(const AddressSpaceReader& reader, model::AddressSpace& space) {
  for (const int index : reader.copied_in_pause()) RETURN_IF_ERROR(find_in_mapping(reader, index, space));
  for (const model::Vma& vma : space.vmas()) {
    if (vma.kind() != model::Vma::FILE_PRIVATE && !vma.was_private_shm()) continue;
    for (const Range& range : intersect(excluded_, {vma.start(), vma.end()})) {
      pieces_.push_back({.from = Piece::From::kZeroes, .address = range.start, .length = range.size()});
    }
  }
  return absl::OkStatus();
}

absl::Status PauseCopies::find_in_mapping(const AddressSpaceReader& reader, int index, model::AddressSpace& space) {
  model::Vma& vma = *space.mutable_vmas(index);
  ASSIGN_OR_RETURN(const UniqueFd pagemap, open_pagemap(pid_));
  const PageSelection selection =
      vma.kind() == model::Vma::ANONYMOUS ? PageSelection::kPopulated : PageSelection::kAnonymous;
  ASSIGN_OR_RETURN(const PopulatedPages pages, scan_pages(pagemap.get(), {vma.start(), vma.end()}, selection));
  for (const Range& guard : pages.guards) {
    model::Range* out = vma.add_guards();
    out->set_start(guard.start);
    out->set_end(guard.end);
  }
  if (reader.saved_whole().contains(vma.start())) return find_whole(vma, pages.guards);
  add_of_process(pages.content);
  return absl::OkStatus();
}

absl::Status PauseCopies::find_whole(const model::Vma& vma, const std::vector<Range>& guards) {
  for (const Range& range : subtract({{vma.start(), vma.end()}}, guards)) {
    add_of_process({{range.start, readable_end(pid_, range)}});
  }
  return absl::OkStatus();
}

absl::Status PauseCopies::find_in_shared_memory(SharedMemoryRegistry& registry, ApplicationCalls& calls) {
  for (SharedMemoryRegistry::Object& object : registry.objects()) {
    const std::vector<Range> excluded = excluded_in(object);
    if (object.fd.valid()) {
      RETURN_IF_ERROR(find_in_object(object, excluded));
    } else {
      RETURN_IF_ERROR(find_through_mappings(object, excluded, calls));
    }
  }
  return absl::OkStatus();
}

// Excluded addresses as offsets in the object.
std::vector<Range> PauseCopies::excluded_in(const SharedMemoryRegistry::Object& object) const {
  std::vector<Range> offsets;
  for (const auto& [pid, mapping] : object.places) {
    if (!mapping.shared || pid != pid_) continue;
    for (const Range& range : intersect(excluded_, {mapping.start, mapping.end})) {
      offsets.push_back({range.start - mapping.start + mapping.offset, range.end - mapping.start + mapping.offset});
    }
  }
  return excluded_pages(std::move(offsets));
}

absl::Status PauseCopies::find_in_object(SharedMemoryRegistry::Object& object, const std::vector<Range>& excluded) {
  const model::SharedMemory& memory = object.message;
  if (!object.found.empty()) return absl::OkStatus();
  object.found.push_back({0, std::max<uint64_t>(page_ceil(memory.size()), kPageSize)});
  ASSIGN_OR_RETURN(const std::vector<Range> data, data_in_file(object.fd.get(), memory.size(), memory.name()));
  for (const Range& range : subtract(data, excluded)) {
    pieces_.push_back({.from = Piece::From::kFile,
                       .shared_memory = memory.id(),
                       .address = range.start,
                       .length = range.size(),
                       .fd = object.fd.get()});
  }
  return absl::OkStatus();
}

absl::Status PauseCopies::find_through_mappings(SharedMemoryRegistry::Object& object,
                                                const std::vector<Range>& excluded, ApplicationCalls& calls) {
  for (const auto& [pid, mapping] : object.places) {
    if (pid != pid_ || !mapping.shared) continue;  // a private mapping's pages need not be the object's
    const uint64_t to_address = mapping.start - mapping.offset;
    const Range whole = {mapping.offset, mapping.offset + (mapping.end - mapping.start)};
    for (const Range& part : subtract({whole}, object.found)) {
      ASSIGN_OR_RETURN(std::vector<Range> pages, resident_pages(calls, {part.start + to_address, part.end + to_address},
                                                                object.message.huge_page_size() != 0));
      for (Range& range : pages) range = {range.start - to_address, range.end - to_address};
      for (const Range& range : subtract(pages, excluded)) {
        pieces_.push_back({.shared_memory = object.message.id(),
                           .address = range.start,
                           .length = range.size(),
                           .source = range.start + to_address});
      }
    }
    object.found.push_back(whole);
    object.found = excluded_pages(std::move(object.found));
  }
  return absl::OkStatus();
}

uint64_t PauseCopies::bytes() const {
  uint64_t sum = 0;
  for (const Piece& piece : pieces_) sum += piece.from == Piece::From::kZeroes ? 0 : piece.length;
  return sum;
}

std::string why_not_copy(uint64_t wanted) {
  if (wanted == 0) return "";
  if (feature_disabled("pause_copies")) return "copies of shared memory are switched off";
  const uint64_t available = available_memory();
  if (available > kReserve && wanted <= available - kReserve) return "";
  return absl::StrCat(wanted >> 20, " MiB of shared and unforkable memory would have to be copied, ", available >> 20,
                      " MiB are available");
}

absl::Status PauseCopies::copy() {
  for (Piece& piece : pieces_) {
    if (piece.data != nullptr || piece.from == Piece::From::kZeroes) continue;
    void* data = ::mmap(nullptr, piece.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return errno_status(errno, absl::StrCat("mmap of ", piece.length, " bytes for copies"));
    blocks_.push_back({static_cast<char*>(data), piece.length});
    RETURN_IF_ERROR(read(piece, 0, static_cast<char*>(data), piece.length));
    piece.data = static_cast<char*>(data);
  }
  return absl::OkStatus();
}

absl::Status PauseCopies::read(const Piece& piece, uint64_t at, char* to, uint64_t length) const {
  if (piece.from == Piece::From::kProcess) return read_memory(pid_, piece.source + at, to, length);
  // The last page may end behind the end of the memory: what is there no more reads as zeroes.
  for (uint64_t done = 0; done < length;) {
    const ssize_t n = ::pread(piece.fd, to + done, length - done, static_cast<off_t>(piece.address + at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_status(errno, absl::StrCat("pread of shared memory ", piece.shared_memory));
    if (n == 0) {
      std::fill(to + done, to + length, '\0');
      break;
    }
    done += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
