#include "tools/image_report.h"

#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/model/ids.h"
#include "tools/console.h"

namespace stillpoint::tools {
namespace {

uint64_t total_size(const google::protobuf::RepeatedPtrField<image::FileEntry>& files) {
  uint64_t bytes = 0;
  for (const image::FileEntry& file : files) bytes += file.size();
  return bytes;
}

void append_summary(const ImageContents& contents, std::string& out) {
  const image::Manifest& m = contents.manifest;
  absl::StrAppend(&out, "image      ", contents.name, " (sequence ", m.sequence(), ", format ", m.format_version(),
                  m.parent().empty() ? ", full" : absl::StrCat(", delta of ", printable(m.parent())), ")\n");
  absl::StrAppend(&out, "taken      ", format_time(m.created_ns()), " on ", printable(m.host()), ", Linux ",
                  printable(m.kernel()), ", by Stillpoint ", printable(m.stillpoint_version()), "\n");
  absl::StrAppend(&out, "program    ", printable_line(m.program()), "\n");
  if (!m.job_id().empty()) absl::StrAppend(&out, "job        ", printable(m.job_id()), "\n");
  absl::StrAppend(&out, "size       ", format_bytes(image_bytes(m)), " in ", m.files_size(), " files, ",
                  format_bytes(stored_bytes(m)), " in ", m.stored_files_size(), " stored executables and libraries\n");
  for (const image::FileEntry& file : m.files()) {
    absl::StrAppendFormat(&out, "  %-20s %10s\n", printable(file.name()), format_bytes(file.size()));
  }
}

void append_threads(const model::Process& process, std::string& out) {
  for (const model::Thread& thread : process.threads()) {
    const bool leader = thread.tid() == process.pid();
    absl::StrAppendFormat(&out, "  %8d  %-16s%s\n", thread.tid(), printable(thread.name()), leader ? " leader" : "");
  }
}

void append_vma(const model::Tree& tree, const model::AddressSpace& space, const model::Vma& vma, std::string& out) {
  absl::StrAppendFormat(&out, "  %012x-%012x %s %9s %9s  %-17s %s\n", vma.start(), vma.end(), vma_permissions(vma),
                        format_bytes(vma.end() - vma.start()), format_bytes(saved_bytes(space, vma.start(), vma.end())),
                        vma_kind(vma), printable(vma_name(tree, space, vma)));
}

void append_vma_sums(const model::AddressSpace& space, std::string& out) {
  struct Sum {
    int count = 0;
    uint64_t size = 0;
    uint64_t saved = 0;
  };
  std::map<std::string, Sum> sums;
  for (const model::Vma& vma : space.vmas()) {
    Sum& sum = sums[vma_kind(vma)];
    ++sum.count;
    sum.size += vma.end() - vma.start();
    sum.saved += saved_bytes(space, vma.start(), vma.end());
  }
  for (const auto& [kind, sum] : sums) {
    absl::StrAppendFormat(&out, "  %-18s %5d VMAs %10s mapped %10s saved\n", kind, sum.count, format_bytes(sum.size),
                          format_bytes(sum.saved));
  }
}

void append_memory(const model::Tree& tree, const model::Process& process, bool all_vmas, std::string& out) {
  const model::AddressSpace* space = model::find_address_space(tree, process.address_space());
  if (space == nullptr) return;
  const model::MappedFile* executable = model::find_mapped_file(tree, space->executable());
  absl::StrAppend(&out, "memory     ", space->vmas_size(), " VMAs");
  if (executable != nullptr) absl::StrAppend(&out, ", executable ", printable(executable->path()));
  absl::StrAppend(&out, "\n");
  if (!all_vmas) return append_vma_sums(*space, out);
  for (const model::Vma& vma : space->vmas()) append_vma(tree, *space, vma, out);
}

// "/data/x" of "fd 1,2 /data/x": the line has its number already.
absl::string_view without_numbers(absl::string_view description) {
  absl::string_view rest = description;
  if (!absl::ConsumePrefix(&rest, "fd ")) return description;
  const size_t end = rest.find_first_not_of("0123456789,");
  if (end == 0 || end == absl::string_view::npos || rest[end] != ' ') return description;
  return rest.substr(end + 1);
}

void append_descriptors(const model::Tree& tree, const model::Process& process, std::string& out) {
  const model::FileTable* table = model::find_file_table(tree, process.file_table());
  if (table == nullptr) return;
  absl::StrAppend(&out, "fds        ", table->descriptors_size(), "\n");
  std::map<uint64_t, int32_t> first_numbers;  // by open file
  for (const model::FileDescriptor& descriptor : table->descriptors()) {
    const model::OpenFile* file = model::find_open_file(tree, descriptor.open_file());
    const auto [first, is_first] = first_numbers.try_emplace(descriptor.open_file(), descriptor.number());
    absl::StrAppendFormat(
        &out, "  %8d  %-10s %s%s%s\n", descriptor.number(), file != nullptr ? printable(file->kind()) : "missing",
        file != nullptr ? printable(without_numbers(file->description())) : "",
        file == nullptr || is_first ? "" : absl::StrCat("  (the same open file as fd ", first->second, ")"),
        descriptor.close_on_exec() ? "  (close-on-exec)" : "");
  }
}

// What stands in order is summed up in one pass. An image that lies about it could keep `inspect` busy for hours.
absl::Status check_order(const model::AddressSpace& space) {
  uint64_t end = 0;
  for (const model::Vma& vma : space.vmas()) {
    if (vma.start() < end || vma.end() <= vma.start()) {
      return absl::DataLossError(
          absl::StrCat("the mapping ", absl::Hex(vma.start()), "-", absl::Hex(vma.end()), " is impossible"));
    }
    end = vma.end();
  }
  end = 0;
  for (const model::PageExtent& extent : space.pages()) {
    if (extent.address() < end || extent.address() + extent.length() <= extent.address()) {
      return absl::DataLossError(absl::StrCat("the pages at ", absl::Hex(extent.address()), " are impossible"));
    }
    end = extent.address() + extent.length();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ImageContents> read_image(const std::string& path) {
  ASSIGN_OR_RETURN(const image::ImageReader reader, image::ImageReader::open(path));
  ASSIGN_OR_RETURN(const std::string state, reader.read_file(image::kStateName));
  ImageContents contents;
  contents.name = reader.name();
  contents.manifest = reader.manifest();
  if (!contents.tree.ParseFromString(state)) {
    return absl::DataLossError(absl::StrCat(reader.name(), "/", image::kStateName, " is not a process tree"));
  }
  for (const model::AddressSpace& space : contents.tree.address_spaces()) {
    RETURN_IF_ERROR(with_context(check_order(space), absl::StrCat(reader.name(), "/", image::kStateName)));
  }
  return contents;
}

std::string image_table(const ImageContents& contents, bool all_vmas) {
  std::string out;
  append_summary(contents, out);
  for (const model::Process& process : contents.tree.processes()) {
    absl::StrAppend(&out, "process    ", process.pid(), ", parent ", process.parent_pid(), ", ", process.threads_size(),
                    process.threads_size() == 1 ? " thread" : " threads", "\n");
    append_threads(process, out);
    append_memory(contents.tree, process, all_vmas, out);
    append_descriptors(contents.tree, process, out);
  }
  return out;
}

uint64_t image_bytes(const image::Manifest& manifest) { return total_size(manifest.files()); }
uint64_t stored_bytes(const image::Manifest& manifest) { return total_size(manifest.stored_files()); }

std::string task_counts(const image::Manifest& manifest) {
  const uint32_t processes = manifest.process_count();
  const uint32_t threads = manifest.thread_count();
  return absl::StrCat(processes > 1 ? absl::StrCat(processes, " processes, ") : "", threads,
                      threads == 1 ? " thread" : " threads");
}

std::string vma_permissions(const model::Vma& vma) {
  const bool shared =
      vma.kind() == model::Vma::FILE_SHARED || (vma.kind() == model::Vma::SHARED_MEMORY && !vma.was_private_shm());
  std::string text = "---p";
  if ((vma.protection() & PROT_READ) != 0) text[0] = 'r';
  if ((vma.protection() & PROT_WRITE) != 0) text[1] = 'w';
  if ((vma.protection() & PROT_EXEC) != 0) text[2] = 'x';
  if (shared) text[3] = 's';
  return text;
}

std::string vma_kind(const model::Vma& vma) {
  switch (vma.kind()) {
    case model::Vma::ANONYMOUS:
      return "private anonymous";
    case model::Vma::FILE_PRIVATE:
      return "private file";
    case model::Vma::FILE_SHARED:
      return "shared file";
    case model::Vma::SHARED_MEMORY:
      return "shared memory";
    case model::Vma::VDSO:
      return "vdso";
    case model::Vma::VVAR:
      return "vvar";
    default:
      return "unknown";
  }
}

std::string vma_name(const model::Tree& tree, const model::AddressSpace& space, const model::Vma& vma) {
  if (const model::MappedFile* file = model::find_mapped_file(tree, vma.mapped_file())) {
    return absl::StrCat(file->path(), file->deleted() ? " (deleted)" : "");
  }
  if (const model::SharedMemory* memory = model::find_shared_memory(tree, vma.shared_memory())) {
    return memory->memfd() ? absl::StrCat("memfd:", memory->name()) : memory->name();
  }
  if (vma.kind() == model::Vma::VDSO) return "[vdso]";
  if (vma.kind() == model::Vma::VVAR) return "[vvar]";
  if (!vma.anonymous_name().empty()) return absl::StrCat("[anon:", vma.anonymous_name(), "]");
  const bool is_heap = vma.start() < space.brk() && vma.end() > space.start_brk();
  if (is_heap && vma.kind() == model::Vma::ANONYMOUS) return "[heap]";
  if (vma.start() <= space.start_stack() && space.start_stack() < vma.end()) return "[stack]";
  return "";
}

uint64_t saved_bytes(const model::AddressSpace& space, uint64_t start, uint64_t end) {
  // The extents ascend, in an image that tells the truth; in another one the sum is wrong and nothing worse.
  const auto& pages = space.pages();
  auto extent = std::partition_point(pages.begin(), pages.end(),
                                     [&](const model::PageExtent& e) { return e.address() + e.length() <= start; });
  uint64_t bytes = 0;
  for (; extent != pages.end() && extent->address() < end; ++extent) {
    const uint64_t from = std::max(start, extent->address());
    const uint64_t to = std::min(end, extent->address() + extent->length());
    if (to > from) bytes += to - from;
  }
  return bytes;
}

}  // namespace stillpoint::tools
