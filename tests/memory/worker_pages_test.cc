#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "helper/base/syscalls.h"
#include "helper/memory/call_batch.h"
#include "helper/memory/page_file.h"
#include "tests/memory/worker_process.h"

namespace stillpoint {
namespace {

using ::testing::Combine;
using ::testing::HasSubstr;
using ::testing::Values;
using worker::Extent;
using worker::kChunkSize;

// Every second page or so: one extent per run.
PageFileLayout scattered(const TestMemory& memory) {
  PageFileLayout layout;
  for (uint64_t page = 0, run = 1; page < memory.size() / kPageSize; page += run + 1, run = run % 5 + 1) {
    const uint64_t length = std::min(run, memory.size() / kPageSize - page);
    layout.add(memory.address() + page * kPageSize, length * kPageSize);
  }
  return layout;
}

size_t task_count(pid_t pid) {
  const std::filesystem::directory_iterator tasks(absl::StrCat("/proc/", pid, "/task"));
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

struct Place {
  const char* directory;
  bool direct;
};
void PrintTo(const Place& place, std::ostream* out) { *out << place.directory << (place.direct ? " direct" : ""); }

class WorkerPages : public testing::TestWithParam<std::tuple<int, uint32_t, Place>> {
 protected:
  size_t memory_size() const { return static_cast<size_t>(std::get<0>(GetParam())) << 20; }
  uint32_t threads() const { return std::get<1>(GetParam()); }
  Place place() const { return std::get<2>(GetParam()); }
};

TEST_P(WorkerPages, WrittenFileIsRightAndComesBack) {
  const std::string directory = place().directory[0] == '/' ? place().directory : testing::TempDir();
  if (!std::filesystem::is_directory(directory)) GTEST_SKIP() << "no " << directory;
  const UniqueFd file = temporary_file(directory);
  ASSERT_TRUE(file.valid());
  const bool direct = place().direct && set_direct(file.get());
  if (place().direct && !direct) GTEST_SKIP() << "no O_DIRECT in " << directory;
  TestMemory memory(memory_size());
  memory.fill(threads());
  const PageFileLayout layout = scattered(memory);
  auto writer = WorkerProcess::start({.control_bytes = 64 << 10, .io_threads = 4});
  ASSERT_TRUE(writer.ok()) << writer.status();

  uint64_t last_progress = 0;
  TransferOptions options = {.threads = threads(), .direct = direct};
  options.progress = [&](uint64_t bytes) {
    EXPECT_GE(bytes, last_progress);
    last_progress = bytes;
  };
  const auto sums = writer->main().write_pages(file.get(), layout.extents(), layout.file_size(), options);
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_EQ(last_progress, layout.file_size());
  EXPECT_EQ(task_count(writer->pid()), 1u);  // its threads have left
  const std::string contents = file_contents(file.get());
  EXPECT_TRUE(contents == expected_contents(layout.extents(), layout.file_size()));
  EXPECT_EQ(*sums, checksums_by_library(contents));

  // The same from outside, byte for byte.
  const UniqueFd second = temporary_file(directory);
  const auto outside_sums = write_pages_from_outside(writer->pid(), layout.extents(), layout.file_size(), second.get(),
                                                     direct && set_direct(second.get()));
  ASSERT_TRUE(outside_sums.ok()) << outside_sums.status();
  EXPECT_EQ(*outside_sums, *sums);
  EXPECT_TRUE(file_contents(second.get()) == contents);

  // Back into another child, whose memory is empty there.
  const uint64_t address = memory.address();
  auto reader = WorkerProcess::start({.control_bytes = 64 << 10, .io_threads = 4},
                                     [&] { std::memset(reinterpret_cast<void*>(address), 0, memory.size()); });
  ASSERT_TRUE(reader.ok()) << reader.status();
  last_progress = 0;
  const absl::Status status =
      reader->main().read_pages(file.get(), layout.extents(), layout.file_size(), *sums, options);
  ASSERT_TRUE(status.ok()) << status;
  std::string expected(memory.size(), '\0');
  for (const Extent& extent : layout.extents()) {
    std::memcpy(&expected[extent.address - address], reinterpret_cast<void*>(extent.address), extent.length);
  }
  EXPECT_TRUE(memory_of(reader->pid(), address, memory.size()) == expected);
  EXPECT_EQ(task_count(reader->pid()), 1u);
}

INSTANTIATE_TEST_SUITE_P(Sizes, WorkerPages,
                         Combine(Values(1, 6, 11), Values(1u, 2u, 4u),
                                 Values(Place{"tmp", true}, Place{"tmp", false}, Place{"/dev/shm", false})));

// More extents than the control block holds, some of them reaching from one round into the next.
TEST(WorkerPagesRounds, ManyPiecesTakeSeveralRounds) {
  constexpr uint64_t kLong = (size_t{5} << 20) / kPageSize, kScattered = (size_t{16} << 20) / kPageSize;
  TestMemory memory((2 * kLong + kScattered) * kPageSize);
  memory.fill(13);
  PageFileLayout layout;
  layout.add(memory.address(), kLong * kPageSize);
  for (uint64_t page = kLong + 1; page < kLong + kScattered; page += 2) {
    layout.add(memory.address() + page * kPageSize, kPageSize);
  }
  layout.add(memory.address() + (kLong + kScattered + 1) * kPageSize, (kLong - 1) * kPageSize);
  constexpr size_t kControl = size_t{32} << 10;
  ASSERT_GT(layout.extents().size() * sizeof(Extent), kControl);
  const UniqueFd file = temporary_file(testing::TempDir());

  auto writer = WorkerProcess::start({.control_bytes = kControl});
  ASSERT_TRUE(writer.ok()) << writer.status();
  const auto sums = writer->main().write_pages(file.get(), layout.extents(), layout.file_size(), {});
  ASSERT_TRUE(sums.ok()) << sums.status();
  const std::string contents = file_contents(file.get());
  EXPECT_TRUE(contents == expected_contents(layout.extents(), layout.file_size()));
  EXPECT_EQ(*sums, checksums_by_library(contents));

  auto reader =
      WorkerProcess::start({.control_bytes = kControl}, [&] { std::memset(memory.data(), 0, memory.size()); });
  ASSERT_TRUE(reader.ok()) << reader.status();
  const absl::Status status = reader->main().read_pages(file.get(), layout.extents(), layout.file_size(), *sums, {});
  ASSERT_TRUE(status.ok()) << status;
  const std::string after = memory_of(reader->pid(), memory.address(), memory.size());
  for (const Extent& extent : layout.extents()) {
    ASSERT_EQ(std::memcmp(&after[extent.address - memory.address()], reinterpret_cast<const void*>(extent.address),
                          extent.length),
              0)
        << "extent at offset " << extent.offset;
  }
}

// One test process with memory, a layout of it and a file, for what goes wrong.
class WorkerPagesFailure : public testing::Test {
 protected:
  void SetUp() override {
    memory_.fill(7);
    layout_ = scattered(memory_);
    file_ = temporary_file(testing::TempDir());
    auto process = WorkerProcess::start({});
    ASSERT_TRUE(process.ok()) << process.status();
    process_ = std::make_unique<WorkerProcess>(*std::move(process));
  }
  absl::StatusOr<std::vector<uint64_t>> write(int fd, const TransferOptions& options = {}) {
    return process_->main().write_pages(fd, layout_.extents(), layout_.file_size(), options);
  }

  TestMemory memory_{size_t{14} << 20};
  PageFileLayout layout_;
  UniqueFd file_;
  std::unique_ptr<WorkerProcess> process_;
};

TEST_F(WorkerPagesFailure, DamagedChunkIsNamedAndNothingOfItIsPlaced) {
  const auto sums = write(file_.get());
  ASSERT_TRUE(sums.ok()) << sums.status();
  ASSERT_GE(sums->size(), 3u);
  char byte = 0;
  const off_t at = static_cast<off_t>(kChunkSize + 12345);
  ASSERT_EQ(::pread(file_.get(), &byte, 1, at), 1);
  byte = static_cast<char>(byte ^ 4);
  ASSERT_EQ(::pwrite(file_.get(), &byte, 1, at), 1);

  auto reader = WorkerProcess::start({}, [&] { std::memset(memory_.data(), 0, memory_.size()); });
  ASSERT_TRUE(reader.ok()) << reader.status();
  const absl::Status status = reader->main().read_pages(file_.get(), layout_.extents(), layout_.file_size(), *sums, {});
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("chunk 1 of the pages file is damaged"));
  const std::string after = memory_of(reader->pid(), memory_.address(), memory_.size());
  for (const Extent& extent : layout_.extents()) {
    if (extent.offset < kChunkSize || extent.offset + extent.length > 2 * kChunkSize) continue;
    const std::string piece = after.substr(extent.address - memory_.address(), extent.length);
    ASSERT_TRUE(piece == std::string(extent.length, '\0')) << "extent at offset " << extent.offset;
  }
}

TEST_F(WorkerPagesFailure, TruncatedFileIsNamed) {
  const auto sums = write(file_.get());
  ASSERT_TRUE(sums.ok()) << sums.status();
  ASSERT_EQ(::ftruncate(file_.get(), 2 * kChunkSize + 100), 0);
  const absl::Status status =
      process_->main().read_pages(file_.get(), layout_.extents(), layout_.file_size(), *sums, {.threads = 1});
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("the pages file ends within chunk 2"));
}

TEST_F(WorkerPagesFailure, FileSizeLimitIsAnError) {
  CallBatch batch(process_->main());
  const uint64_t limit = batch.put_value(rlimit{5 << 20, 5 << 20});
  batch.add(SYS_prlimit64, {0, RLIMIT_FSIZE, limit, 0}, worker::kStopOnError, "prlimit");
  ASSERT_TRUE(batch.run().ok());
  const absl::Status status = write(file_.get()).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("writing pages, chunk "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("EFBIG"));
}

TEST_F(WorkerPagesFailure, FullDiskIsAnError) {
  const UniqueFd full(::open("/dev/full", O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(full.valid());
  // The child was forked before the file was opened: it opens its own.
  CallBatch batch(process_->main());
  const uint64_t path = batch.put_string("/dev/full");
  const size_t fd =
      batch.add(SYS_openat, {static_cast<uint64_t>(AT_FDCWD), path, O_RDWR}, worker::kStopOnError, "open");
  ASSERT_TRUE(batch.run().ok());
  const absl::Status status = write(static_cast<int>(batch.result(fd))).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("ENOSPC"));
  EXPECT_TRUE(write(file_.get()).ok());  // and the worker goes on
}

TEST_F(WorkerPagesFailure, DirectIsGivenUpWhereTheFileSystemRefuses) {
  if (!set_direct(file_.get())) GTEST_SKIP() << "no O_DIRECT in " << testing::TempDir();
  // A tail that is no multiple of any sector.
  const uint64_t size = layout_.file_size() + 123;
  const auto sums = process_->main().write_pages(file_.get(), layout_.extents(), size, {.direct = true});
  ASSERT_TRUE(sums.ok()) << sums.status();
  const std::string contents = file_contents(file_.get());
  EXPECT_TRUE(contents == expected_contents(layout_.extents(), size));
  EXPECT_EQ(*sums, checksums_by_library(contents));
}

TEST_F(WorkerPagesFailure, ClosedFileIsAnError) {
  EXPECT_THAT(std::string(write(999'999).status().message()), HasSubstr("EBADF"));
}

TEST_F(WorkerPagesFailure, ExtentsThatLieAreRefused) {
  for (const Extent& bad : {Extent{memory_.address(), 8192, 4096}, Extent{memory_.address(), 4096, ~uint64_t{0} - 100},
                            Extent{~uint64_t{0} - 4095, 8192, 0}, Extent{memory_.address(), ~uint64_t{0}, 0}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(process_->main().write_pages(file_.get(), {&bad, 1}, 8192, {}).status()));
  }
  const Extent twice[] = {{memory_.address(), 4096, 0}, {memory_.address(), 4096, 0}};
  EXPECT_TRUE(absl::IsInvalidArgument(process_->main().write_pages(file_.get(), twice, 8192, {}).status()));
  EXPECT_TRUE(absl::IsDataLoss(process_->main().read_pages(file_.get(), {}, 8192, {}, {})));
}

TEST_F(WorkerPagesFailure, DeathBySigbusWhileWriting) {
  // A mapped file that lost its pages.
  const UniqueFd gone(::memfd_create("gone", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(gone.get(), 4096), 0);
  void* const mapping = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, gone.get(), 0);
  ASSERT_NE(mapping, MAP_FAILED);
  auto process = WorkerProcess::start({});
  ASSERT_TRUE(process.ok()) << process.status();
  ASSERT_EQ(::ftruncate(gone.get(), 0), 0);
  const Extent extent = {reinterpret_cast<uint64_t>(mapping), 4096, 0};
  const auto result = process->main().write_pages(file_.get(), {&extent, 1}, 4096, {});
  EXPECT_EQ(result.status().message(), "the child died (signal 7, SIGBUS) while writing pages");
  ::munmap(mapping, 4096);
}

TEST_F(WorkerPagesFailure, UnreadablePagesAreSurvivedWhenAsked) {
  TestMemory memory(16 * kPageSize);
  memory.fill(3);
  const uint64_t address = memory.address();
  auto process = WorkerProcess::start(
      {}, [&] { ::mprotect(reinterpret_cast<void*>(address + 5 * kPageSize), 2 * kPageSize, PROT_NONE); });
  ASSERT_TRUE(process.ok()) << process.status();
  PageFileLayout layout;
  layout.add(address, memory.size());
  uint64_t unreadable = 99;
  TransferOptions options;
  options.tolerate_unreadable = true;
  options.unreadable_pages = &unreadable;
  const auto sums = process->main().write_pages(file_.get(), layout.extents(), layout.file_size(), options);
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_EQ(unreadable, 2u);
  std::string expected(memory.data(), memory.size());
  expected.replace(5 * kPageSize, 2 * kPageSize, std::string(2 * kPageSize, '\0'));
  EXPECT_TRUE(file_contents(file_.get()) == expected);
  // From outside, where /proc/PID/mem looks through the protection, they are read.
  const UniqueFd second = temporary_file(testing::TempDir());
  ASSERT_TRUE(write_pages_from_outside(process->pid(), layout.extents(), layout.file_size(), second.get(), false).ok());
  EXPECT_TRUE(file_contents(second.get()) == std::string(memory.data(), memory.size()));
}

TEST_F(WorkerPagesFailure, FewerThreadsWhereMoreAreForbidden) {
  CallBatch batch(process_->main());
  const uint64_t limit = batch.put_value(rlimit{0, 0});
  batch.add(SYS_prlimit64, {0, RLIMIT_NPROC, limit, 0}, worker::kStopOnError, "prlimit");
  ASSERT_TRUE(batch.run().ok());
  const auto sums = write(file_.get(), {.threads = 2});
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_EQ(*sums, checksums_by_library(file_contents(file_.get())));
}

}  // namespace
}  // namespace stillpoint
