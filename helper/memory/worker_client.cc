#include "helper/memory/worker_client.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"

namespace stillpoint {
namespace {

using worker::Call;
using worker::Extent;
using worker::kChunkSize;

constexpr long kLivenessIntervalNs = 20'000'000;

template <typename T>
T load(const T& field) {
  return __atomic_load_n(&field, __ATOMIC_ACQUIRE);
}

void futex_wait(uint32_t& at, uint32_t while_value) {
  const timespec interval = {0, kLivenessIntervalNs};
  ::syscall(SYS_futex, &at, FUTEX_WAIT, while_value, &interval, nullptr, 0);
}

void futex_wake(uint32_t& at) { ::syscall(SYS_futex, &at, FUTEX_WAKE, 0x7fffffff, nullptr, nullptr, 0); }

bool is_error(int64_t result) { return result < 0 && result >= -4095; }

absl::Status worker_error(int64_t error, absl::string_view what) {
  if (is_error(error)) return errno_status(static_cast<int>(-error), what);
  return absl::InternalError(absl::StrCat(what, ": the worker answers ", error));
}

absl::Status check_extents(absl::Span<const Extent> extents, uint64_t file_size) {
  uint64_t behind = 0;
  for (const Extent& extent : extents) {
    if (extent.offset < behind || extent.length > file_size || extent.offset > file_size - extent.length ||
        extent.address + extent.length < extent.address) {
      return absl::InvalidArgumentError(absl::StrCat("pages at 0x", absl::Hex(extent.address), "+0x",
                                                     absl::Hex(extent.length), " do not fit at offset ", extent.offset,
                                                     " of a pages file of ", file_size, " bytes"));
    }
    behind = extent.offset + extent.length;
  }
  return absl::OkStatus();
}

}  // namespace

WorkerClient::WorkerClient(char* block, size_t length, uint32_t io_threads)
    : block_(block), length_(length), io_threads_(io_threads) {}

// ---- one job

absl::Status WorkerClient::run_job(worker::Job job, absl::string_view doing,
                                   const std::function<void(uint64_t)>& progress) {
  if (!lost_.ok()) return lost_;
  worker::Control& page = control();
  page.job = static_cast<uint32_t>(job);
  page.error = 0;
  page.failed_index = 0;
  page.failed_address = 0;
  page.bad_checksum = 0;
  page.progress = 0;
  page.unreadable = 0;
  const uint32_t request = ++request_;
  __atomic_store_n(&page.request, request, __ATOMIC_RELEASE);
  futex_wake(page.request);
  lost_ = wait(request, doing, progress);
  return lost_;
}

absl::Status WorkerClient::wait(uint32_t request, absl::string_view doing,
                                const std::function<void(uint64_t)>& progress) {
  using Clock = std::chrono::steady_clock;
  worker::Control& page = control();
  uint64_t last_progress = 0;
  Clock::time_point last_change = Clock::now();
  for (;;) {
    const uint32_t done = load(page.done);
    if (done == request) return absl::OkStatus();
    futex_wait(page.done, done);
    if (load(page.done) == request) return absl::OkStatus();

    const uint64_t now_progress = load(page.progress);
    if (now_progress != last_progress) {
      last_progress = now_progress;
      last_change = Clock::now();
      if (progress) progress(now_progress);
    }
    if (liveness_) {
      absl::Status alive = liveness_(doing);
      if (!alive.ok()) return load(page.done) == request ? absl::OkStatus() : death(std::move(alive));
    }
    if (absl::FromChrono(Clock::now() - last_change) > patience_) {
      return absl::DeadlineExceededError(
          absl::StrCat("the worker made no progress for ", absl::FormatDuration(patience_), " while ", doing));
    }
  }
}

// A worker that could not even be mapped left a note.
absl::Status WorkerClient::death(absl::Status status) const {
  const int64_t error = load(control().start_error);
  if (!is_error(error)) return status;
  return errno_status(static_cast<int>(-error),
                      absl::StrCat(status.message(), "; mapping the worker, step ", load(control().start_step)));
}

absl::Status WorkerClient::exit() {
  absl::Status status = run_job(worker::Job::kExit, "ending", nullptr);
  if (status.ok()) lost_ = absl::FailedPreconditionError("the worker was told to exit");
  if (absl::IsDeadlineExceeded(status)) return status;
  return absl::OkStatus();  // ended, whether on our word or before it
}

// ---- system calls

absl::Status WorkerClient::calls(std::vector<Call>& calls, const Describe& describe) {
  return calls_within(absl::MakeSpan(calls), arena_size(), describe);
}

absl::Status WorkerClient::calls_within(absl::Span<Call> calls, size_t limit, const Describe& describe) {
  const size_t per_round = std::min(limit, arena_size()) / sizeof(Call);
  if (per_round == 0) return absl::ResourceExhaustedError("the control block has no room for a call");
  for (Call& call : calls) call.result = -ECANCELED;
  for (size_t first = 0; first < calls.size(); first += per_round) {
    RETURN_IF_ERROR(call_round(calls.subspan(first, per_round), describe));
  }
  return absl::OkStatus();
}

absl::Status WorkerClient::call_round(absl::Span<Call> calls, const Describe& describe) {
  worker::Control& page = control();
  page.calls = kArenaOffset;
  page.call_count = calls.size();
  std::memcpy(arena(), calls.data(), calls.size() * sizeof(Call));
  RETURN_IF_ERROR(run_job(worker::Job::kCalls, "making system calls", nullptr));
  const int64_t error = load(page.error);
  const uint64_t failed = load(page.failed_index);
  const size_t made = error == 0 ? calls.size() : static_cast<size_t>(std::min<uint64_t>(failed + 1, calls.size()));
  for (size_t i = 0; i < made; ++i) {
    std::memcpy(&calls[i].result, arena() + i * sizeof(Call) + offsetof(Call, result), sizeof calls[i].result);
  }
  if (error == 0) return absl::OkStatus();
  if (failed >= calls.size()) return worker_error(error, "system calls in the worker");
  const Call& call = calls[failed];
  std::string what = describe ? describe(call.tag) : absl::StrCat("system call ", call.number);
  if (is_error(call.result)) return worker_error(call.result, what);
  return absl::FailedPreconditionError(
      absl::StrCat(what, ": gave 0x", absl::Hex(call.result), " instead of 0x", absl::Hex(call.arguments[0])));
}

absl::Status WorkerClient::spawn(std::vector<worker::Spawn>& spawns) {
  worker::Control& page = control();
  const size_t per_round = arena_size() / sizeof(worker::Spawn);
  for (size_t first = 0; first < spawns.size(); first += per_round) {
    const size_t count = std::min(per_round, spawns.size() - first);
    page.spawns = kArenaOffset;
    page.spawn_count = count;
    std::memcpy(arena(), &spawns[first], count * sizeof(worker::Spawn));
    RETURN_IF_ERROR(run_job(worker::Job::kSpawn, "starting threads", nullptr));
    std::memcpy(&spawns[first], arena(), count * sizeof(worker::Spawn));
    if (const int64_t error = load(page.error); error != 0) {
      const size_t failed = first + static_cast<size_t>(std::min<uint64_t>(load(page.failed_index), count - 1));
      return worker_error(error, absl::StrCat("clone3 of thread ", failed + 1, " with tid ", spawns[failed].tid));
    }
  }
  return absl::OkStatus();
}

// ---- pages

// Consecutive chunks and the extents that touch them.
struct WorkerClient::Round {
  uint64_t first_chunk = 0, chunk_count = 0;
  size_t first_extent = 0, extent_count = 0;
};

// As many chunks as the control block has room for, with their checksums and extents.
absl::StatusOr<WorkerClient::Round> WorkerClient::next_round(absl::Span<const Extent> extents, const Round& previous,
                                                             uint64_t file_size) const {
  Round round;
  round.first_chunk = previous.first_chunk + previous.chunk_count;
  // The last extent of the round before may reach into this one.
  round.first_extent = previous.first_extent + (previous.extent_count > 0 ? previous.extent_count - 1 : 0);
  const uint64_t begin = round.first_chunk * kChunkSize;
  while (round.first_extent < extents.size() &&
         extents[round.first_extent].offset + extents[round.first_extent].length <= begin) {
    ++round.first_extent;
  }
  size_t behind = round.first_extent;
  for (uint64_t end = begin + kChunkSize; end - kChunkSize < file_size; end += kChunkSize) {
    size_t next = behind;
    while (next < extents.size() && extents[next].offset < end) ++next;
    const size_t bytes = (round.chunk_count + 1) * sizeof(uint64_t) + (next - round.first_extent) * sizeof(Extent);
    if (bytes > arena_size()) break;
    behind = next;
    ++round.chunk_count;
  }
  round.extent_count = behind - round.first_extent;
  if (round.chunk_count == 0 && begin < file_size) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "chunk ", round.first_chunk, " of the pages file has more pieces than ", "the control block has room for"));
  }
  return round;
}

// Checksums at the arena's beginning, extents behind.
void WorkerClient::place_round(const Round& round, absl::Span<const Extent> extents, int fd, uint64_t file_size,
                               const TransferOptions& options) {
  worker::Control& page = control();
  page.fd = fd;
  page.file_size = file_size;
  page.threads = std::clamp(options.threads, 1u, io_threads_);
  page.direct = options.direct ? 1 : 0;
  page.tolerate_unreadable = options.tolerate_unreadable ? 1 : 0;
  page.first_chunk = round.first_chunk;
  page.chunk_count = round.chunk_count;
  page.checksums = kArenaOffset;
  page.extent_count = round.extent_count;
  page.extents = kArenaOffset + round.chunk_count * sizeof(uint64_t);
  if (round.extent_count > 0) {
    std::memcpy(block_ + page.extents, &extents[round.first_extent], round.extent_count * sizeof(Extent));
  }
}

absl::Status WorkerClient::transfer_error(absl::string_view doing) const {
  const worker::Control& page = control();
  const int64_t error = load(page.error);
  const uint64_t chunk = load(page.failed_index);
  if (load(page.bad_checksum) != 0) {
    return absl::DataLossError(absl::StrCat("chunk ", chunk, " of the pages file is damaged: its checksum differs"));
  }
  if (error == 0) return absl::OkStatus();
  if (error == -ENODATA) return absl::DataLossError(absl::StrCat("the pages file ends within chunk ", chunk));
  std::string what = absl::StrCat(doing, ", chunk ", chunk, " of the pages file");
  if (const uint64_t address = load(page.failed_address); address != 0) {
    absl::StrAppend(&what, ", memory at 0x", absl::Hex(address));
  }
  return worker_error(error, what);
}

absl::Status WorkerClient::transfer(worker::Job job, absl::string_view doing, int fd, absl::Span<const Extent> extents,
                                    uint64_t file_size, std::vector<uint64_t>& checksums,
                                    const TransferOptions& options) {
  RETURN_IF_ERROR(check_extents(extents, file_size));
  const bool writing = job == worker::Job::kWritePages;
  if (options.unreadable_pages != nullptr) *options.unreadable_pages = 0;
  TransferOptions current = options;
  Round round;
  while (round.first_chunk + round.chunk_count < checksums.size()) {
    ASSIGN_OR_RETURN(round, next_round(extents, round, file_size));
    place_round(round, extents, fd, file_size, current);
    uint64_t* const round_checksums = &checksums[round.first_chunk];
    const size_t checksum_bytes = round.chunk_count * sizeof(uint64_t);
    if (!writing) std::memcpy(arena(), round_checksums, checksum_bytes);
    const uint64_t before = round.first_chunk * kChunkSize;
    RETURN_IF_ERROR(run_job(job, doing, [&](uint64_t bytes) {
      if (options.progress) options.progress(before + std::min(bytes, round.chunk_count * kChunkSize));
    }));
    RETURN_IF_ERROR(transfer_error(doing));
    if (writing) std::memcpy(round_checksums, arena(), checksum_bytes);
    if (options.unreadable_pages != nullptr) *options.unreadable_pages += load(control().unreadable);
    current.direct = load(control().direct) != 0;  // turned off in one round, it stays off
  }
  if (options.progress) options.progress(file_size);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint64_t>> WorkerClient::write_pages(int fd_in_task, absl::Span<const Extent> extents,
                                                                uint64_t file_size, const TransferOptions& options) {
  std::vector<uint64_t> checksums((file_size + kChunkSize - 1) / kChunkSize);
  RETURN_IF_ERROR(
      transfer(worker::Job::kWritePages, "writing pages", fd_in_task, extents, file_size, checksums, options));
  return checksums;
}

absl::Status WorkerClient::read_pages(int fd_in_task, absl::Span<const Extent> extents, uint64_t file_size,
                                      absl::Span<const uint64_t> checksums, const TransferOptions& options) {
  std::vector<uint64_t> expected(checksums.begin(), checksums.end());
  if (expected.size() != (file_size + kChunkSize - 1) / kChunkSize) {
    return absl::DataLossError(absl::StrCat(expected.size(), " checksums for a pages file of ", file_size, " bytes"));
  }
  return transfer(worker::Job::kReadPages, "reading pages", fd_in_task, extents, file_size, expected, options);
}

}  // namespace stillpoint
