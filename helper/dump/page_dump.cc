#include "helper/dump/page_dump.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"
#include "helper/dump/snapshot_worker.h"
#include "helper/memory/call_batch.h"
#include "helper/memory/excluded.h"
#include "helper/memory/pagemap.h"

namespace stillpoint {
namespace {

bool has_own_pages(const model::Vma& vma) {
  if (vma.droppable()) return false;
  return vma.kind() == model::Vma::ANONYMOUS || vma.kind() == model::Vma::FILE_PRIVATE ||
         (vma.kind() == model::Vma::SHARED_MEMORY && vma.was_private_shm());
}

void add_extent(uint64_t address, uint64_t length, uint32_t file, uint64_t offset, model::PageExtent& out) {
  out.set_address(address);
  out.set_length(length);
  out.set_file(file);
  out.set_offset(offset);
}

bool is_zero_page(const char* page) { return page[0] == 0 && std::memcmp(page, page + 1, kPageSize - 1) == 0; }

// Appends the pages of [data, data + length) that are not all zero, or with `zeroes` all of them.
absl::Status append_pages(const char* data, uint64_t length, uint64_t address, bool zeroes, ChunkedFileWriter& out,
                          google::protobuf::RepeatedPtrField<model::PageExtent>& extents) {
  for (uint64_t begin = 0; begin < length;) {
    uint64_t end = begin;
    while (end < length && (zeroes || !is_zero_page(data + end))) end += kPageSize;
    if (end > begin) {
      add_extent(address + begin, end - begin, CopiedPagesDump::kFile, out.size(), *extents.Add());
      RETURN_IF_ERROR(out.append({data + begin, end - begin}));
    }
    begin = end > begin ? end : begin + kPageSize;
  }
  return absl::OkStatus();
}

absl::Status write_piece(const PauseCopies& copies, const PauseCopies::Piece& piece, ChunkedFileWriter& out,
                         google::protobuf::RepeatedPtrField<model::PageExtent>& extents) {
  constexpr uint64_t kBlock = 1 << 20;
  const bool zeroes = piece.from == PauseCopies::Piece::From::kZeroes;
  std::vector<char> staging(piece.data == nullptr ? std::min(kBlock, piece.length) : 0);
  for (uint64_t at = 0; at < piece.length; at += kBlock) {
    const uint64_t length = std::min(kBlock, piece.length - at);
    const char* data = piece.data != nullptr ? piece.data + at : staging.data();
    if (piece.data == nullptr && !zeroes) RETURN_IF_ERROR(copies.read(piece, at, staging.data(), length));
    RETURN_IF_ERROR(append_pages(data, length, piece.address + at, zeroes, out, extents));
  }
  return absl::OkStatus();
}

void sort_extents(google::protobuf::RepeatedPtrField<model::PageExtent>& extents) {
  std::sort(extents.begin(), extents.end(),
            [](const model::PageExtent& a, const model::PageExtent& b) { return a.address() < b.address(); });
}

// What the snapshot's worker is to read must be readable: the snapshot is disposable, so its protections may change.
absl::Status make_readable(WorkerSession& session, const model::AddressSpace& space) {
  CallBatch batch(session.main());
  for (const model::Vma& vma : space.vmas()) {
    if (!has_own_pages(vma) || (vma.protection() & PROT_READ) != 0) continue;
    batch.add(SYS_mprotect, {vma.start(), vma.end() - vma.start(), PROT_READ}, 0, "mprotect in the snapshot");
  }
  return batch.run();
}

}  // namespace

absl::StatusOr<std::vector<Range>> find_own_pages(pid_t pid, const std::vector<int>& left_out,
                                                  model::AddressSpace& space, bool& guards_known) {
  ASSIGN_OR_RETURN(const UniqueFd pagemap, open_pagemap(pid));
  std::vector<Range> found;
  for (int i = 0; i < space.vmas_size(); ++i) {
    model::Vma& vma = *space.mutable_vmas(i);
    if (!has_own_pages(vma)) continue;
    if (std::find(left_out.begin(), left_out.end(), i) != left_out.end()) continue;
    const PageSelection selection =
        vma.kind() == model::Vma::ANONYMOUS ? PageSelection::kPopulated : PageSelection::kAnonymous;
    ASSIGN_OR_RETURN(const PopulatedPages pages, scan_pages(pagemap.get(), {vma.start(), vma.end()}, selection));
    guards_known = guards_known && pages.guards_known;
    vma.clear_guards();
    for (const Range& guard : pages.guards) {
      model::Range* out = vma.add_guards();
      out->set_start(guard.start);
      out->set_end(guard.end);
    }
    found.insert(found.end(), pages.content.begin(), pages.content.end());
  }
  return found;
}

absl::Status PageDump::lay_out(pid_t pid, const std::vector<int>& copied_in_pause, const std::vector<Range>& excluded,
                               model::AddressSpace& space) {
  ASSIGN_OR_RETURN(const std::vector<Range> pages, find_own_pages(pid, copied_in_pause, space, guards_known_));
  for (const Range& range : subtract(pages, excluded)) {
    add_extent(range.start, range.size(), file_, layout_.add(range), *space.add_pages());
  }
  return absl::OkStatus();
}

absl::Status PageDump::write_by_worker(Snapshot& snapshot, const std::vector<procfs::Mapping>& mappings,
                                       const CodeGadgets& gadgets, const model::AddressSpace& space, int fd,
                                       bool direct, const Progress& progress, std::vector<uint64_t>& checksums) {
  if (feature_disabled("worker")) return absl::UnimplementedError("the worker is switched off");
  ASSIGN_OR_RETURN(SnapshotWorker worker, start_worker(snapshot, mappings, {fd}, gadgets));
  RETURN_IF_ERROR(make_readable(worker.session, space));
  die_if_stage("worker-running");
  TransferOptions options;
  options.direct = direct;
  options.tolerate_unreadable = !guards_known_;
  options.progress = [&](uint64_t done) { progress(done, bytes()); };
  ASSIGN_OR_RETURN(checksums,
                   worker.session.main().write_pages(worker.fds[0], layout_.extents(), layout_.file_size(), options));
  return absl::OkStatus();
}

absl::Status PageDump::write_from_snapshot(Snapshot& snapshot, const std::vector<procfs::Mapping>& mappings,
                                           const CodeGadgets& gadgets, const model::AddressSpace& space,
                                           image::ImageWriter& writer, const Progress& progress,
                                           std::string& why_outside) {
  ASSIGN_OR_RETURN(const UniqueFd file, writer.create_file(image::pages_name(file_)));
  const bool direct = set_direct(file.get());
  std::vector<uint64_t> checksums;
  absl::Status status =
      write_by_worker(snapshot, mappings, gadgets, space, file.get(), direct, progress, checksums);
  if (!status.ok()) {
    // A full disk stays full however the pages are read, and a dead snapshot cannot be read at all.
    if (absl::IsResourceExhausted(status) || ::kill(snapshot.pid(), 0) != 0) return status;
    why_outside = std::string(status.message());
    ASSIGN_OR_RETURN(
        checksums, write_pages_from_outside(snapshot.pid(), layout_.extents(), layout_.file_size(), file.get(), direct,
                                            [&](uint64_t done) { progress(done, bytes()); }));
  }
  writer.add_file(image::pages_name(file_), layout_.file_size(), std::move(checksums));
  return absl::OkStatus();
}

absl::Status PageDump::write_from_outside(pid_t pid, image::ImageWriter& writer, const Progress& progress) {
  ASSIGN_OR_RETURN(const UniqueFd file, writer.create_file(image::pages_name(file_)));
  const bool direct = set_direct(file.get());
  ASSIGN_OR_RETURN(std::vector<uint64_t> checksums,
                   write_pages_from_outside(pid, layout_.extents(), layout_.file_size(), file.get(), direct,
                                            [&](uint64_t done) { progress(done, bytes()); }));
  writer.add_file(image::pages_name(file_), layout_.file_size(), std::move(checksums));
  return absl::OkStatus();
}

absl::Status CopiedPagesDump::add(const PauseCopies& copies, image::ImageWriter& writer, model::AddressSpace& space,
                                  model::Tree& tree) {
  if (copies.pieces().empty()) return absl::OkStatus();
  if (!out_.has_value()) {
    const std::string name = image::pages_name(kFile);
    ASSIGN_OR_RETURN(file_, writer.create_file(name));
    ASSIGN_OR_RETURN(out_, ChunkedFileWriter::create(file_.get(), set_direct(file_.get()), name));
  }
  for (const PauseCopies::Piece& piece : copies.pieces()) {
    google::protobuf::RepeatedPtrField<model::PageExtent>& extents =
        piece.shared_memory == 0
            ? *space.mutable_pages()
            : *tree.mutable_shared_memories(static_cast<int>(piece.shared_memory) - 1)->mutable_pages();
    RETURN_IF_ERROR(write_piece(copies, piece, *out_, extents));
  }
  sort_extents(*space.mutable_pages());
  return absl::OkStatus();
}

absl::Status CopiedPagesDump::finish(image::ImageWriter& writer, model::Tree& tree) {
  for (model::SharedMemory& memory : *tree.mutable_shared_memories()) sort_extents(*memory.mutable_pages());
  if (!out_.has_value()) return absl::OkStatus();
  bytes_ = out_->size();
  ASSIGN_OR_RETURN(std::vector<uint64_t> checksums, out_->finish());
  writer.add_file(image::pages_name(kFile), bytes_, std::move(checksums));
  return absl::OkStatus();
}

}  // namespace stillpoint
