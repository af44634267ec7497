#include "helper/memory/page_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "helper/base/syscalls.h"
#include "tests/memory/worker_process.h"

namespace stillpoint {
namespace {

using ::testing::HasSubstr;
using worker::Extent;
using worker::kChunkSize;

TEST(PageFileLayout, PlacesOneBehindTheOtherAndJoinsNeighbours) {
  PageFileLayout layout;
  EXPECT_EQ(layout.add(0x10000, 0x2000), 0u);
  EXPECT_EQ(layout.add(0x12000, 0x1000), 0x2000u);
  EXPECT_EQ(layout.add(Range{0x20000, 0x21000}), 0x3000u);
  EXPECT_EQ(layout.add(0x30000, 0), 0x4000u);
  EXPECT_EQ(layout.file_size(), 0x4000u);
  ASSERT_EQ(layout.extents().size(), 2u);
  EXPECT_EQ(layout.extents()[0].length, 0x3000u);
  EXPECT_EQ(layout.extents()[1].address, 0x20000u);
  EXPECT_EQ(layout.extents()[1].offset, 0x3000u);
}

TEST(WriteFromOutside, HolesAreZeroAndChunksAreCrossed) {
  TestMemory memory(9 << 20);
  memory.fill(11);
  const std::vector<Extent> extents = {
      {memory.address(), 3 << 20, 4096},                          // after a hole, inside a chunk
      {memory.address() + (4 << 20), 5 << 20, (3 << 20) + 8192},  // over a chunk's end
  };
  const uint64_t size = 3 * kChunkSize + 4096;  // a hole of more than a chunk at the end
  const UniqueFd file = temporary_file(testing::TempDir());
  const auto sums = write_pages_from_outside(::getpid(), extents, size, file.get(), set_direct(file.get()));
  ASSERT_TRUE(sums.ok()) << sums.status();
  const std::string contents = file_contents(file.get());
  EXPECT_TRUE(contents == expected_contents(extents, size));
  EXPECT_EQ(*sums, checksums_by_library(contents));
}

TEST(WriteFromOutside, EmptyFileAndDeadProcess) {
  const UniqueFd file = temporary_file(testing::TempDir());
  const auto sums = write_pages_from_outside(::getpid(), {}, 0, file.get(), false);
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_TRUE(sums->empty());
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  const Extent extent = {0x10000, 4096, 0};
  EXPECT_FALSE(write_pages_from_outside(pid, {&extent, 1}, 4096, file.get(), false).ok());
}

TEST(WriteFromOutside, ExtentsThatLieAreRefused) {
  const UniqueFd file = temporary_file(testing::TempDir());
  TestMemory memory(8192);
  const Extent overlap[] = {{memory.address(), 4096, 0}, {memory.address(), 4096, 0}};
  EXPECT_TRUE(absl::IsInvalidArgument(write_pages_from_outside(::getpid(), overlap, 8192, file.get(), false).status()));
  const Extent outside = {memory.address(), 8192, 4096};
  EXPECT_TRUE(
      absl::IsInvalidArgument(write_pages_from_outside(::getpid(), {&outside, 1}, 8192, file.get(), false).status()));
}

TEST(ChunkedFileWriter, AnySizeInAnyPieces) {
  const UniqueFd file = temporary_file(testing::TempDir());
  auto writer = ChunkedFileWriter::create(file.get(), set_direct(file.get()), "the file");
  ASSERT_TRUE(writer.ok()) << writer.status();
  TestMemory memory((5 << 20) + 4096);
  memory.fill(5);
  const absl::string_view bytes(memory.data(), memory.size() - 77);
  for (size_t at = 0; at < bytes.size(); at += 99'999) ASSERT_TRUE(writer->append(bytes.substr(at, 99'999)).ok());
  EXPECT_EQ(writer->size(), bytes.size());
  const auto sums = writer->finish();
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_TRUE(file_contents(file.get()) == bytes);
  EXPECT_EQ(*sums, checksums_by_library(std::string(bytes)));
}

TEST(ChunkedFileWriter, FullDiskIsAnErrorThatNamesTheFile) {
  const UniqueFd full(::open("/dev/full", O_RDWR | O_CLOEXEC));
  auto writer = ChunkedFileWriter::create(full.get(), false, "pages-0.bin");
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(writer->append("something").ok());
  EXPECT_THAT(std::string(writer->finish().status().message()), HasSubstr("write to pages-0.bin: ENOSPC"));
}

}  // namespace
}  // namespace stillpoint
