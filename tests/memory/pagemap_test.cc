// The scan against what the test itself did to the pages.
#include "helper/memory/pagemap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "helper/base/syscalls.h"
#include "helper/memory/page_file.h"
#include "tests/memory/worker_process.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// With and without PAGEMAP_SCAN.
class Pagemap : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (!scan_enabled()) {
#ifndef STILLPOINT_TEST_SWITCHES
      GTEST_SKIP() << "built without test switches";
#endif
      ::setenv("STILLPOINT_DISABLE", "pagemap_scan", 1);
    }
    auto fd = open_pagemap(::getpid());
    ASSERT_TRUE(fd.ok()) << fd.status();
    fd_ = *std::move(fd);
  }
  void TearDown() override { ::unsetenv("STILLPOINT_DISABLE"); }

  bool scan_enabled() const { return GetParam(); }
  PopulatedPages scan(const TestMemory& memory, PageSelection selection) {
    return scan(memory.address(), memory.size(), selection);
  }
  PopulatedPages scan(uint64_t address, size_t size, PageSelection selection) {
    auto pages = scan_pages(fd_.get(), {address, address + size}, selection);
    EXPECT_TRUE(pages.ok()) << pages.status();
    return pages.ok() ? *std::move(pages) : PopulatedPages{};
  }

  UniqueFd fd_;
};

Range page_range(const TestMemory& memory, uint64_t first, uint64_t count) {
  return {memory.address() + first * kPageSize, memory.address() + (first + count) * kPageSize};
}

void touch(const TestMemory& memory, uint64_t first, uint64_t count) {
  for (uint64_t i = first; i < first + count; ++i) memory.data()[i * kPageSize + 17] = 1;
}

void without_huge_pages(const TestMemory& memory) { ::madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE); }

TEST_P(Pagemap, TouchedPagesOnly) {
  TestMemory memory(64 * kPageSize);
  without_huge_pages(memory);
  EXPECT_THAT(scan(memory, PageSelection::kPopulated).content, IsEmpty());
  touch(memory, 3, 4);
  touch(memory, 7, 1);
  touch(memory, 20, 1);
  touch(memory, 63, 1);
  for (const PageSelection selection : {PageSelection::kPopulated, PageSelection::kAnonymous}) {
    EXPECT_THAT(scan(memory, selection).content,
                ElementsAre(page_range(memory, 3, 5), page_range(memory, 20, 1), page_range(memory, 63, 1)));
  }
  // Part of it: cut at the range's ends.
  EXPECT_THAT(scan(memory.address() + 5 * kPageSize, 2 * kPageSize, PageSelection::kPopulated).content,
              ElementsAre(page_range(memory, 5, 2)));
}

TEST_P(Pagemap, ZeroPageIsNoContentWhereTheKernelTells) {
  TestMemory memory(8 * kPageSize);
  without_huge_pages(memory);
  volatile char sum = 0;
  for (size_t i = 0; i < 4; ++i) sum = static_cast<char>(sum + memory.data()[i * kPageSize]);
  touch(memory, 1, 1);
  const std::vector<Range> content = scan(memory, PageSelection::kAnonymous).content;
  if (content == std::vector<Range>{page_range(memory, 1, 1)}) return;
  // The fallback, and kernels before 6.7, cannot tell: more than needed, nothing missing.
  EXPECT_THAT(content, ElementsAre(page_range(memory, 0, 4)));
}

TEST_P(Pagemap, DroppedPagesHaveNoContent) {
  TestMemory memory(16 * kPageSize);
  without_huge_pages(memory);
  touch(memory, 0, 16);
  ASSERT_EQ(::madvise(memory.data() + 4 * kPageSize, 8 * kPageSize, MADV_DONTNEED), 0);
  EXPECT_THAT(scan(memory, PageSelection::kPopulated).content,
              ElementsAre(page_range(memory, 0, 4), page_range(memory, 12, 4)));
}

TEST_P(Pagemap, PrivateFileMappingShowsWhatWasWritten) {
  constexpr size_t kPages = 16;
  const UniqueFd file = temporary_file(testing::TempDir());
  ASSERT_TRUE(pwrite_all(file.get(), std::string(kPages * kPageSize, 'f').data(), kPages * kPageSize, 0, "file").ok());
  void* const mapping = ::mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
  ASSERT_NE(mapping, MAP_FAILED);
  char* const bytes = static_cast<char*>(mapping);
  const uint64_t start = reinterpret_cast<uint64_t>(mapping);
  volatile char sum = 0;
  for (size_t i = 0; i < kPages; ++i) sum = static_cast<char>(sum + bytes[i * kPageSize]);
  bytes[2 * kPageSize] = 'w';
  bytes[3 * kPageSize] = 'w';
  bytes[9 * kPageSize] = 'w';
  EXPECT_THAT(scan(start, kPages * kPageSize, PageSelection::kAnonymous).content,
              ElementsAre(Range{start + 2 * kPageSize, start + 4 * kPageSize},
                          Range{start + 9 * kPageSize, start + 10 * kPageSize}));
  EXPECT_EQ(total_size(scan(start, kPages * kPageSize, PageSelection::kPopulated).content), kPages * kPageSize);
  ::munmap(mapping, kPages * kPageSize);
}

TEST_P(Pagemap, SharedMemoryIsPopulatedButNotAnonymous) {
  const size_t size = 8 * kPageSize;
  void* const mapping = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapping, MAP_FAILED);
  const uint64_t start = reinterpret_cast<uint64_t>(mapping);
  static_cast<char*>(mapping)[3 * kPageSize] = 1;
  const std::vector<Range> populated = scan(start, size, PageSelection::kPopulated).content;
  EXPECT_GE(total_size(populated), kPageSize);
  ASSERT_FALSE(populated.empty());
  EXPECT_LE(populated[0].start, start + 3 * kPageSize);
  EXPECT_THAT(scan(start, size, PageSelection::kAnonymous).content, IsEmpty());
  ::munmap(mapping, size);
}

TEST_P(Pagemap, HugePages) {
  constexpr size_t kHuge = size_t{2} << 20;
  TestMemory memory(4 * kHuge);
  ::madvise(memory.data(), memory.size(), MADV_HUGEPAGE);
  const uint64_t aligned = (memory.address() + kHuge - 1) & ~(kHuge - 1);
  *reinterpret_cast<char*>(aligned + 5 * kPageSize) = 1;
  const std::vector<Range> content = scan(memory, PageSelection::kAnonymous).content;
  // The whole huge page where one was to be had, the one page where not.
  if (total_size(content) == kPageSize) GTEST_SKIP() << "no transparent huge page to be had";
  ASSERT_EQ(content.size(), 1u);
  EXPECT_LE(content[0].start, aligned + 5 * kPageSize);
  EXPECT_GE(content[0].end, aligned + 6 * kPageSize);
  EXPECT_LE(content[0].end, aligned + kHuge);
}

TEST_P(Pagemap, ProtectedPagesKeepTheirContent) {
  TestMemory memory(8 * kPageSize);
  without_huge_pages(memory);
  touch(memory, 2, 3);
  ASSERT_EQ(::mprotect(memory.data(), memory.size(), PROT_NONE), 0);
  EXPECT_THAT(scan(memory, PageSelection::kAnonymous).content, ElementsAre(page_range(memory, 2, 3)));
}

TEST_P(Pagemap, GuardRegionsAreToldApart) {
  constexpr int kGuardInstall = 102;
  TestMemory memory(16 * kPageSize);
  without_huge_pages(memory);
  touch(memory, 0, 16);
  if (::madvise(memory.data() + 4 * kPageSize, 2 * kPageSize, kGuardInstall) != 0) {
    GTEST_SKIP() << "no MADV_GUARD_INSTALL";
  }
  const PopulatedPages pages = scan(memory, PageSelection::kAnonymous);
  if (!pages.guards_known) {
    EXPECT_THAT(pages.content, ElementsAre(page_range(memory, 0, 16)));
    return;
  }
  EXPECT_THAT(pages.guards, ElementsAre(page_range(memory, 4, 2)));
  EXPECT_THAT(pages.content, ElementsAre(page_range(memory, 0, 4), page_range(memory, 6, 10)));
}

TEST_P(Pagemap, MoreRegionsThanOneBufferHolds) {
  constexpr size_t kPages = 40'000;
  TestMemory memory(kPages * kPageSize);
  without_huge_pages(memory);
  for (size_t i = 0; i < kPages; i += 2) touch(memory, i, 1);
  const std::vector<Range> content = scan(memory, PageSelection::kAnonymous).content;
  ASSERT_EQ(content.size(), kPages / 2);
  for (size_t i = 0; i < content.size(); ++i) ASSERT_EQ(content[i], page_range(memory, 2 * i, 1));
}

TEST_P(Pagemap, RangesAppend) {
  TestMemory memory(8 * kPageSize);
  without_huge_pages(memory);
  touch(memory, 0, 8);
  PopulatedPages pages;
  ASSERT_TRUE(scan_pages(fd_.get(), page_range(memory, 0, 3), PageSelection::kAnonymous, pages).ok());
  ASSERT_TRUE(scan_pages(fd_.get(), page_range(memory, 3, 0), PageSelection::kAnonymous, pages).ok());
  ASSERT_TRUE(scan_pages(fd_.get(), page_range(memory, 3, 2), PageSelection::kAnonymous, pages).ok());
  EXPECT_THAT(pages.content, ElementsAre(page_range(memory, 0, 5)));
}

TEST_P(Pagemap, BadRangesAreErrors) {
  EXPECT_TRUE(absl::IsInvalidArgument(scan_pages(fd_.get(), {1, 4096}, PageSelection::kPopulated).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(scan_pages(fd_.get(), {8192, 4096}, PageSelection::kPopulated).status()));
  EXPECT_FALSE(scan_pages(-1, {4096, 8192}, PageSelection::kPopulated).ok());
  EXPECT_TRUE(absl::IsNotFound(open_pagemap(0x7ffffff0).status()));
}

INSTANTIATE_TEST_SUITE_P(PagemapScan, Pagemap, testing::Bool(),
                         [](const auto& parameter) { return parameter.param ? "Ioctl" : "Entries"; });

// A program with pages in all these states, read as a whole: nothing that has content is missed.
TEST(PagemapOfWorker, SeesTheChildsOwnPages) {
  TestMemory memory(32 * kPageSize);
  without_huge_pages(memory);
  touch(memory, 0, 1);
  auto process = WorkerProcess::start({}, [&] { touch(memory, 9, 2); });
  ASSERT_TRUE(process.ok()) << process.status();
  std::vector<worker::Call> none(1);
  none[0].number = -1;
  ASSERT_TRUE(process->main().calls(none, nullptr).ok());  // it has run prepare()
  const auto fd = open_pagemap(process->pid());
  ASSERT_TRUE(fd.ok()) << fd.status();
  const auto pages =
      scan_pages(fd->get(), {memory.address(), memory.address() + memory.size()}, PageSelection::kAnonymous);
  ASSERT_TRUE(pages.ok()) << pages.status();
  EXPECT_THAT(pages->content, ElementsAre(page_range(memory, 0, 1), page_range(memory, 9, 2)));
}

}  // namespace
}  // namespace stillpoint
