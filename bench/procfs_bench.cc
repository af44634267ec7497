// How long it takes to read the map of an address space with 10,000 mappings: this is part of the pause.
#include <benchmark/benchmark.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "helper/base/syscalls.h"
#include "helper/procfs/process_files.h"

namespace stillpoint::procfs {
namespace {

constexpr uint64_t kMappings = 10000;

// Half of the mappings anonymous, half of a file, as malloc arenas and libraries are.
std::string maps_line(uint64_t index) {
  const uint64_t start = 0x7f0000000000 + index * 4 * kPageSize;
  const std::string head = absl::StrFormat("%x-%x rw-p %08x fd:00 %d ", start, start + 2 * kPageSize, 0, index);
  return index % 2 == 0 ? absl::StrCat(head, "\n")
                        : absl::StrFormat("%-73s/usr/lib/x86_64-linux-gnu/libexample-%d.so.6\n", head, index);
}

std::string maps_text() {
  std::string text;
  for (uint64_t i = 0; i < kMappings; ++i) text += maps_line(i);
  return text;
}

std::string smaps_text() {
  std::string text;
  for (uint64_t i = 0; i < kMappings; ++i) {
    text += maps_line(i);
    for (const char* key : {"Size:",          "KernelPageSize:", "MMUPageSize:",     "Rss:",
                            "Pss:",           "Pss_Dirty:",      "Shared_Clean:",    "Shared_Dirty:",
                            "Private_Clean:", "Private_Dirty:",  "Referenced:",      "Anonymous:",
                            "KSM:",           "LazyFree:",       "AnonHugePages:",   "ShmemPmdMapped:",
                            "FilePmdMapped:", "Shared_Hugetlb:", "Private_Hugetlb:", "Swap:",
                            "SwapPss:",       "Locked:"}) {
      text += absl::StrFormat("%-16s %8d kB\n", key, 4);
    }
    text += "THPeligible:           0\nVmFlags: rd wr mr mw me ac sd \n";
  }
  return text;
}

void parse(benchmark::State& state, const std::string& text,
           absl::StatusOr<std::vector<Mapping>> (*parser)(absl::string_view)) {
  for (auto _ : state) {
    const auto mappings = parser(text);
    if (!mappings.ok() || mappings->size() != kMappings) {
      state.SkipWithError("the text was not parsed");
      break;
    }
    benchmark::DoNotOptimize(mappings->data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kMappings));
}

void parse_maps_10000(benchmark::State& state) { parse(state, maps_text(), &parse_maps); }
BENCHMARK(parse_maps_10000)->Unit(benchmark::kMillisecond);

void parse_smaps_10000(benchmark::State& state) { parse(state, smaps_text(), &parse_smaps); }
BENCHMARK(parse_smaps_10000)->Unit(benchmark::kMillisecond);

// This process with an area whose every second page has another protection: the kernel's share is in it.
class SplitArea {
 public:
  explicit SplitArea(size_t pages)
      : size_(pages * kPageSize), address_(::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (address_ == MAP_FAILED) return;
    for (size_t i = 0; i < pages; i += 2) {
      ::mprotect(static_cast<char*>(address_) + i * kPageSize, kPageSize, PROT_READ | PROT_WRITE);
    }
  }
  ~SplitArea() {
    if (address_ != MAP_FAILED) ::munmap(address_, size_);
  }
  SplitArea(const SplitArea&) = delete;
  SplitArea& operator=(const SplitArea&) = delete;

 private:
  size_t size_;
  void* address_;
};

void read_own(benchmark::State& state, absl::StatusOr<std::vector<Mapping>> (*reader)(pid_t)) {
  const SplitArea area(kMappings);
  for (auto _ : state) {
    const auto mappings = reader(::getpid());
    if (!mappings.ok() || mappings->size() < kMappings) {
      state.SkipWithError("the area is not there");
      break;
    }
    benchmark::DoNotOptimize(mappings->data());
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kMappings));
}

void read_maps_10000(benchmark::State& state) { read_own(state, &read_maps); }
BENCHMARK(read_maps_10000)->Unit(benchmark::kMillisecond);

void read_smaps_10000(benchmark::State& state) { read_own(state, &read_smaps); }
BENCHMARK(read_smaps_10000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stillpoint::procfs
