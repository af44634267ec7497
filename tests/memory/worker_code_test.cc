// The worker's code is what it must be: a flat blob that runs wherever it is mapped.
#include <elf.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "helper/memory/worker_blob.h"
#include "tests/memory/worker_process.h"

namespace stillpoint {
namespace {

class WorkerElf : public testing::Test {
 protected:
  void SetUp() override {
    const UniqueFd fd(::open(STILLPOINT_WORKER_ELF, O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd.valid()) << STILLPOINT_WORKER_ELF;
    elf_ = file_contents(fd.get());
    ASSERT_GT(elf_.size(), sizeof(Elf64_Ehdr));
    std::memcpy(&header_, elf_.data(), sizeof header_);
    ASSERT_EQ(std::memcmp(header_.e_ident, ELFMAG, SELFMAG), 0);
    sections_.resize(header_.e_shnum);
    ASSERT_LE(header_.e_shoff + sections_.size() * sizeof(Elf64_Shdr), elf_.size());
    std::memcpy(sections_.data(), elf_.data() + header_.e_shoff, sections_.size() * sizeof(Elf64_Shdr));
  }
  std::string elf_;
  Elf64_Ehdr header_ = {};
  std::vector<Elf64_Shdr> sections_;
};

TEST_F(WorkerElf, HasNoRelocationAndNoWritableMemory) {
  ASSERT_GT(sections_.size(), 2u);
  for (const Elf64_Shdr& section : sections_) {
    if (section.sh_type == SHT_RELA || section.sh_type == SHT_REL) {
      EXPECT_EQ(section.sh_size, 0u);
    }
    const bool content = section.sh_type == SHT_PROGBITS || section.sh_type == SHT_NOBITS;
    if ((content && (section.sh_flags & SHF_WRITE) != 0) || (section.sh_flags & SHF_TLS) != 0) {
      EXPECT_EQ(section.sh_size, 0u);
    }
  }
}

TEST_F(WorkerElf, IsTheBlob) {
  EXPECT_EQ(header_.e_entry, 0u);
  const std::string blob(worker_blob());
  ASSERT_FALSE(blob.empty());
  EXPECT_LT(blob.size(), size_t{64} << 10);
  EXPECT_NE(elf_.find(blob), std::string::npos);
  EXPECT_EQ(blob[0], '\xfc');  // cld: the entry is the first byte
}

TEST(WorkerSession, CodeIsSealed) {
  auto session = WorkerSession::create({});
  ASSERT_TRUE(session.ok()) << session.status();
  const int seals = ::fcntl(session->code_fd(), F_GET_SEALS);
  EXPECT_EQ(seals & (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
            F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  EXPECT_EQ(::pwrite(session->code_fd(), "x", 1, 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::ftruncate(session->control_fd(), 0), -1);
}

TEST(WorkerSession, RefusesSizesThatMakeNoSense) {
  for (const SessionSize& size :
       {SessionSize{.control_bytes = 100}, SessionSize{.thread_count = 0}, SessionSize{.thread_count = -1},
        SessionSize{.io_threads = 0}, SessionSize{.io_threads = 9}, SessionSize{.thread_control_bytes = 1},
        SessionSize{.control_bytes = ~size_t{0}}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(WorkerSession::create(size).status()));
  }
  auto session = WorkerSession::create({});
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_TRUE(absl::IsInvalidArgument(session->place(0)));
  EXPECT_TRUE(absl::IsInvalidArgument(session->place(0x10001)));
  EXPECT_TRUE(absl::IsInvalidArgument(session->place((uint64_t{1} << 47) - 4096)));
}

// Parts do not overlap, stay in the region, and the staging memory is aligned, whatever the base.
TEST(WorkerLayout, PartsStandApart) {
  for (const int threads : {1, 2, 64}) {
    const WorkerLayout layout({.control_bytes = 100'000, .thread_count = threads, .io_threads = 3}, 5000);
    for (const uint64_t base : {uint64_t{0x10000}, uint64_t{0x7f0000001000}, uint64_t{0x7f00001ff000}}) {
      uint64_t at = layout.io_stacks(base);
      EXPECT_EQ(at, base + 8192);
      at += layout.io_stacks_size();
      for (uint64_t i = 0; i < layout.thread_count(); ++i) {
        EXPECT_GE(layout.stack_bottom(base, i), at + 4096);  // a guard page below
        at = layout.stack_top(base, i);
      }
      EXPECT_GE(layout.controls(base), at + 4096);
      EXPECT_EQ(layout.control(base, 0), layout.controls(base));
      EXPECT_EQ(layout.staging(base) % (2 << 20), 0u);
      EXPECT_GE(layout.staging(base), layout.controls(base) + layout.control_file_size());
      EXPECT_LE(layout.staging(base) + layout.staging_size(), base + layout.region_size());
    }
  }
}

}  // namespace
}  // namespace stillpoint
