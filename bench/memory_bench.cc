// What moving memory costs: finding the pages, copying and checksumming them, writing them from inside the process
// and from outside.
//   memory_bench [--benchmark_filter=...]; STILLPOINT_BENCH_DIR names the directory written to (default /var/tmp)
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include "helper/base/syscalls.h"
#include "helper/base/unique_fd.h"
#include "helper/memory/page_file.h"
#include "helper/memory/pagemap.h"
#include "helper/memory/worker_session.h"

namespace stillpoint {
namespace {

constexpr size_t kWritten = size_t{512} << 20;
constexpr size_t kScanned = size_t{1} << 30;

// Populated private memory in 4 KiB pages, incompressible.
class Memory {
 public:
  explicit Memory(size_t size) : size_(size) {
    void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    ::madvise(memory, size, MADV_NOHUGEPAGE);
    data_ = static_cast<char*>(memory);
    uint64_t value = 88172645463325252;
    for (size_t at = 0; at < size; at += sizeof value) {
      value ^= value << 13;
      value ^= value >> 7;
      value ^= value << 17;
      std::memcpy(data_ + at, &value, sizeof value);
    }
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }
  char* data() const { return data_; }
  uint64_t address() const { return reinterpret_cast<uint64_t>(data_); }
  size_t size() const { return size_; }

 private:
  char* data_ = nullptr;
  size_t size_;
};

UniqueFd output_file() {
  const char* directory = std::getenv("STILLPOINT_BENCH_DIR");
  return UniqueFd(::open(directory != nullptr ? directory : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

// Every second run of 16 pages: 64 KiB pieces, as a heap looks.
PageFileLayout pieces(const Memory& memory) {
  constexpr uint64_t kPiece = 16 * kPageSize;
  PageFileLayout layout;
  for (uint64_t at = 0; at < memory.size(); at += 2 * kPiece) layout.add(memory.address() + at, kPiece);
  return layout;
}

void scan(benchmark::State& state) {
  const Memory memory(kScanned);
  const auto fd = open_pagemap(::getpid());
  if (memory.data() == nullptr || !fd.ok()) return state.SkipWithError("setup failed");
  if (state.range(0) == 0) ::setenv("STILLPOINT_DISABLE", "pagemap_scan", 1);
  for (auto _ : state) {
    auto pages = scan_pages(fd->get(), {memory.address(), memory.address() + memory.size()}, PageSelection::kAnonymous);
    if (!pages.ok()) state.SkipWithError(std::string(pages.status().message()).c_str());
    benchmark::DoNotOptimize(pages);
  }
  ::unsetenv("STILLPOINT_DISABLE");
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(memory.size()));
}
BENCHMARK(scan)->ArgName("ioctl")->Arg(1)->Arg(0)->Unit(benchmark::kMillisecond);

void copy_and_checksum(benchmark::State& state) {
  const Memory memory(kWritten / 4);
  const Memory staging(worker::kChunkSize);
  if (memory.data() == nullptr || staging.data() == nullptr) return state.SkipWithError("mmap failed");
  for (auto _ : state) {
    for (size_t at = 0; at < memory.size(); at += staging.size()) {
      std::memcpy(staging.data(), memory.data() + at, staging.size());
      benchmark::DoNotOptimize(XXH3_64bits(staging.data(), staging.size()));
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(memory.size()));
}
BENCHMARK(copy_and_checksum)->Unit(benchmark::kMillisecond);

// A child that is the worker, killed at the end.
class Child {
 public:
  explicit Child(WorkerSession& session) {
    void* const hole = ::mmap(nullptr, session.region_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (hole == MAP_FAILED || !session.place(reinterpret_cast<uint64_t>(hole)).ok()) return;
    ::munmap(hole, session.region_size());
    pid_ = ::fork();
    if (pid_ == 0) session.enter();
    session.watch(UniqueFd(sys_pidfd_open(pid_, 0)), "child");
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

enum class Way { kWorker, kOutside };

// Into a fresh file each time, made durable, as an image is.
void write(benchmark::State& state, Way way) {
  const Memory memory(2 * kWritten);
  const PageFileLayout layout = pieces(memory);
  auto session = WorkerSession::create({.io_threads = 2});
  if (memory.data() == nullptr || !session.ok()) return state.SkipWithError("setup failed");
  for (auto _ : state) {
    const UniqueFd file = output_file();
    const bool direct = state.range(1) != 0 && set_direct(file.get());
    session = WorkerSession::create({.io_threads = 2});
    if (!file.valid() || !session.ok()) return state.SkipWithError("setup failed");
    const Child child(*session);
    const auto begin = std::chrono::steady_clock::now();
    const TransferOptions options = {.threads = static_cast<uint32_t>(state.range(0)), .direct = direct};
    const auto sums =
        way == Way::kWorker
            ? session->main().write_pages(file.get(), layout.extents(), layout.file_size(), options)
            : write_pages_from_outside(child.pid(), layout.extents(), layout.file_size(), file.get(), direct);
    if (!sums.ok()) return state.SkipWithError(std::string(sums.status().message()).c_str());
    if (::fdatasync(file.get()) != 0) return state.SkipWithError("fdatasync failed");
    state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(layout.file_size()));
}
BENCHMARK_CAPTURE(write, worker, Way::kWorker)
    ->ArgNames({"threads", "direct"})
    ->ArgsProduct({{1, 2}, {0, 1}})
    ->Unit(benchmark::kMillisecond)
    ->UseManualTime();
BENCHMARK_CAPTURE(write, outside, Way::kOutside)
    ->ArgNames({"threads", "direct"})
    ->ArgsProduct({{1}, {0, 1}})
    ->Unit(benchmark::kMillisecond)
    ->UseManualTime();

}  // namespace
}  // namespace stillpoint

BENCHMARK_MAIN();
