#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "helper/base/syscalls.h"
#include "helper/procfs/process_files.h"
#include "tests/procfs/kernel_texts.h"
#include "tests/procfs/waiting_child.h"

namespace stillpoint::procfs {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const Mapping* find(const std::vector<Mapping>& mappings, const void* address) {
  const auto wanted = reinterpret_cast<uint64_t>(address);
  for (const Mapping& mapping : mappings) {
    if (mapping.start <= wanted && wanted < mapping.end) return &mapping;
  }
  return nullptr;
}

std::string error_of(absl::string_view text) { return std::string(parse_maps(text).status().message()); }

TEST(ParseMaps, Linux514) {
  const auto maps = parse_maps(kMaps514);
  ASSERT_TRUE(maps.ok()) << maps.status();
  ASSERT_EQ(maps->size(), 11u);
  const Mapping& text = (*maps)[1];
  EXPECT_EQ(text.start, 0x559f2c608000u);
  EXPECT_EQ(text.end, 0x559f2c60d000u);
  EXPECT_EQ(text.protection, static_cast<uint32_t>(PROT_READ | PROT_EXEC));
  EXPECT_FALSE(text.shared);
  EXPECT_EQ(text.offset, 0x2000u);
  EXPECT_EQ(text.device, makedev(0xfd, 0));
  EXPECT_EQ(text.inode, 134298119u);
  EXPECT_EQ(text.name, "/usr/bin/cat");
  EXPECT_EQ((*maps)[3].name, "");
  EXPECT_EQ((*maps)[4].protection, 0u);
  EXPECT_TRUE((*maps)[5].shared);
  EXPECT_EQ((*maps)[6].name, "/memfd:ring buffer (deleted)");
  EXPECT_EQ((*maps)[10].end, 0xffffffffff601000u);
}

TEST(ParseMaps, Linux618) {
  const auto maps = parse_maps(kMaps618);
  ASSERT_TRUE(maps.ok()) << maps.status();
  ASSERT_EQ(maps->size(), 11u);
  EXPECT_EQ((*maps)[2].name, "[anon:glibc: malloc arena]");
  EXPECT_EQ((*maps)[3].name, "[anon_shmem:shared counters]");
  EXPECT_EQ((*maps)[4].name, "anon_inode:[io_uring]");
  EXPECT_EQ((*maps)[5].name, "/mnt/odd\nname (deleted)");
  EXPECT_EQ((*maps)[5].device, makedev(0x103, 2));
  EXPECT_EQ((*maps)[5].inode, ~uint64_t{0});
  EXPECT_EQ((*maps)[7].name, "[vvar_vclock]");
}

TEST(ParseMaps, ThirtyTwoBitTask) {
  const auto maps = parse_maps(kMaps32Bit);
  ASSERT_TRUE(maps.ok()) << maps.status();
  ASSERT_EQ(maps->size(), 4u);
  EXPECT_EQ((*maps)[0].start, 0x08048000u);
  EXPECT_EQ((*maps)[3].end, 0xffffe000u);
}

TEST(ParseMaps, EmptyTextIsNoMappings) {
  const auto maps = parse_maps("");
  ASSERT_TRUE(maps.ok());
  EXPECT_TRUE(maps->empty());
}

TEST(ParseMaps, ErrorsNameFileLineAndWhatIsMissing) {
  EXPECT_THAT(error_of("\n"), HasSubstr("maps line 1: address range expected"));
  EXPECT_THAT(error_of("zz\n"), HasSubstr("address range"));
  EXPECT_THAT(error_of("1000-\n"), HasSubstr("address range"));
  EXPECT_THAT(error_of("10000000000000000-20000000000000000 rw-p 0 0:0 0\n"), HasSubstr("address range"));
  EXPECT_THAT(error_of("2000-1000 rw-p 0 0:0 0\n"), HasSubstr("ascending range of whole pages"));
  EXPECT_THAT(error_of("1000-1000 rw-p 0 0:0 0\n"), HasSubstr("ascending range of whole pages"));
  EXPECT_THAT(error_of("1001-2000 rw-p 0 0:0 0\n"), HasSubstr("ascending range of whole pages"));
  EXPECT_THAT(error_of("1000-2000 rw-q 0 0:0 0\n"), HasSubstr("permissions"));
  EXPECT_THAT(error_of("1000-2000 wr-p 0 0:0 0\n"), HasSubstr("permissions"));
  EXPECT_THAT(error_of("1000-2000 rw-p -1 0:0 0\n"), HasSubstr("offset"));
  EXPECT_THAT(error_of("1000-2000 rw-p 0 00 0\n"), HasSubstr("device"));
  EXPECT_THAT(error_of("1000-2000 rw-p 0 0:100000000 0\n"), HasSubstr("device"));
  EXPECT_THAT(error_of("1000-2000 rw-p 0 0:0 99999999999999999999\n"), HasSubstr("inode"));
  EXPECT_THAT(error_of("1000-2000 rw-p 0 0:0 0x\n"), HasSubstr("blank before the name"));
  EXPECT_THAT(error_of("1000-2000 rw-p 0 0:0 0 /a\n1000-"), HasSubstr("maps line 2"));
}

TEST(ParseMaps, MappingsMustAscend) {
  const absl::Status overlap = parse_maps("1000-3000 rw-p 0 0:0 0\n2000-4000 rw-p 0 0:0 0\n").status();
  EXPECT_EQ(overlap.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(overlap.message()), HasSubstr("line 2: address above"));
  EXPECT_TRUE(parse_maps("1000-3000 rw-p 0 0:0 0\n3000-4000 rw-p 0 0:0 0").ok());
}

TEST(ParseSmaps, Linux514) {
  const auto maps = parse_smaps(kSmaps514);
  ASSERT_TRUE(maps.ok()) << maps.status();
  ASSERT_EQ(maps->size(), 2u);
  EXPECT_THAT((*maps)[0].vm_flags, ElementsAre("rd", "wr", "mr", "mw", "me", "ac", "sd"));
  EXPECT_EQ((*maps)[0].kernel_page_size, 4096u);
  EXPECT_EQ((*maps)[1].kernel_page_size, uint64_t{2} << 20);
  EXPECT_THAT((*maps)[1].vm_flags, Contains("ht"));
  EXPECT_EQ((*maps)[1].name, "/anon_hugepage (deleted)");
}

TEST(ParseSmaps, Linux618) {
  const auto maps = parse_smaps(kSmaps618);
  ASSERT_TRUE(maps.ok()) << maps.status();
  ASSERT_EQ(maps->size(), 2u);
  EXPECT_THAT((*maps)[0].vm_flags, ElementsAre("rd", "wr", "mr", "mw", "me", "dc", "wf", "hg", "??"));
  EXPECT_THAT((*maps)[1].vm_flags, ElementsAre("ex"));
}

// Flags that are not known to be empty must not be taken for empty.
TEST(ParseSmaps, MissingFieldsAreErrors) {
  const std::string text = kSmaps618;
  EXPECT_THAT(std::string(parse_smaps(absl::StrReplaceAll(text, {{"VmFlags: ex \n", ""}})).status().message()),
              HasSubstr("mapping at 0xffffffffff600000 has no VmFlags"));
  EXPECT_THAT(std::string(parse_smaps(absl::StrReplaceAll(text, {{"KernelPageSize", "Page"}})).status().message()),
              HasSubstr("mapping at 0x7ff403400000 has no KernelPageSize"));
  EXPECT_THAT(std::string(parse_smaps("KernelPageSize: 4 kB\n").status().message()), HasSubstr("mapping expected"));
  for (const char* size : {"0 kB", "4 MB", "4", "-4 kB", "18446744073709551615 kB", "4 kB 4"}) {
    const std::string bad = absl::StrCat("1000-2000 rw-p 0 0:0 0\nKernelPageSize: ", size, "\nVmFlags: rd\n");
    EXPECT_THAT(std::string(parse_smaps(bad).status().message()), HasSubstr("smaps line 2: size in kB")) << size;
  }
}

TEST(ParseMaps, TenThousandMappings) {
  std::string text;
  for (uint64_t i = 1; i <= 10000; ++i) {
    absl::StrAppend(&text, absl::Hex(0x7f0000000000 + i * 0x2000), "-", absl::Hex(0x7f0000000000 + i * 0x2000 + 0x1000),
                    " rw-p 00000000 fd:00 ", i, "                  /data/file-", i, "\n");
  }
  const auto maps = parse_maps(text);
  ASSERT_TRUE(maps.ok()) << maps.status();
  ASSERT_EQ(maps->size(), 10000u);
  EXPECT_EQ(maps->back().name, "/data/file-10000");
}

// Regions of a child whose protections, sharing and names are known.
class RealMappings : public testing::Test {
 protected:
  static void* map(int protection, int flags, int fd = -1, off_t offset = 0, size_t length = 3 * kPageSize) {
    void* address = ::mmap(nullptr, length, protection, flags, fd, offset);
    EXPECT_NE(address, MAP_FAILED);
    return address;
  }
};

TEST_F(RealMappings, ProtectionsAndSharing) {
  struct Case {
    int protection;
    int flags;
  };
  const Case cases[] = {{PROT_NONE, MAP_PRIVATE},
                        {PROT_READ, MAP_PRIVATE},
                        {PROT_READ | PROT_WRITE, MAP_SHARED},
                        {PROT_READ | PROT_EXEC, MAP_PRIVATE},
                        {PROT_READ | PROT_WRITE, MAP_PRIVATE}};
  std::vector<void*> addresses;
  // A PROT_NONE page on either side keeps the kernel from merging neighbours.
  for (const Case& c : cases) {
    char* address = static_cast<char*>(map(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS));
    addresses.push_back(address + kPageSize);
    ASSERT_EQ(::mmap(address + kPageSize, kPageSize, c.protection, c.flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
              addresses.back());
  }
  const WaitingChild child([] { return true; });
  ASSERT_TRUE(child.ready());
  for (const auto& maps : {read_maps(child.pid()), read_smaps(child.pid()), read_maps(::getpid())}) {
    ASSERT_TRUE(maps.ok()) << maps.status();
    for (size_t i = 0; i < std::size(cases); ++i) {
      const Mapping* mapping = find(*maps, addresses[i]);
      ASSERT_NE(mapping, nullptr);
      EXPECT_EQ(mapping->protection, static_cast<uint32_t>(cases[i].protection));
      EXPECT_EQ(mapping->shared, cases[i].flags == MAP_SHARED);
    }
  }
}

TEST_F(RealMappings, FileOffsetDeviceInodeAndOddName) {
  char name[] = "/tmp/procfs test\n\\012\ty.XXXXXX";
  const UniqueFd fd(::mkostemp(name, O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  ASSERT_EQ(::ftruncate(fd.get(), 4 * kPageSize), 0);
  struct stat stat = {};
  ASSERT_EQ(::fstat(fd.get(), &stat), 0);
  void* address = map(PROT_READ, MAP_SHARED, fd.get(), kPageSize);
  const WaitingChild child([] { return true; });
  ASSERT_TRUE(child.ready());
  auto maps = read_maps(child.pid());
  ASSERT_TRUE(maps.ok()) << maps.status();
  const Mapping* mapping = find(*maps, address);
  ASSERT_NE(mapping, nullptr);
  EXPECT_EQ(mapping->offset, kPageSize);
  EXPECT_EQ(mapping->inode, stat.st_ino);
  // Filesystems with anonymous devices (btrfs, overlayfs) may show another number here than in stat(2).
  if (major(stat.st_dev) != 0) {
    EXPECT_EQ(mapping->device, stat.st_dev);
  }
  // The kernel escapes newlines alone, so the literal \012 in the name is undone too, as the header says.
  EXPECT_EQ(mapping->name, absl::StrReplaceAll(name, {{"\\012", "\n"}}));
  ASSERT_EQ(::unlink(name), 0);
  maps = read_maps(child.pid());
  ASSERT_TRUE(maps.ok()) << maps.status();
  EXPECT_THAT(find(*maps, address)->name, testing::EndsWith(" (deleted)"));
  ::munmap(address, 3 * kPageSize);
}

TEST_F(RealMappings, AdviceShowsInVmFlags) {
  char* advised = static_cast<char*>(map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
  char* plain = static_cast<char*>(map(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS));
  ASSERT_EQ(::madvise(advised, kPageSize, MADV_DONTFORK), 0);
  ASSERT_EQ(::madvise(advised + kPageSize, kPageSize, MADV_DONTDUMP), 0);
  const auto maps = read_smaps(::getpid());
  ASSERT_TRUE(maps.ok()) << maps.status();
  EXPECT_THAT(find(*maps, advised)->vm_flags, Contains("dc"));
  EXPECT_THAT(find(*maps, advised + kPageSize)->vm_flags, Contains("dd"));
  EXPECT_THAT(find(*maps, plain)->vm_flags, Not(Contains("dc")));
  EXPECT_THAT(find(*maps, plain)->vm_flags, Contains("sh"));
  EXPECT_EQ(find(*maps, plain)->kernel_page_size, kPageSize);
}

TEST_F(RealMappings, ZombieHasNone) {
  WaitingChild child([] { return true; });
  ASSERT_TRUE(child.ready());
  child.make_zombie();
  const auto maps = read_maps(child.pid());
  ASSERT_TRUE(maps.ok()) << maps.status();
  EXPECT_TRUE(maps->empty());
}

TEST_F(RealMappings, NobodyIsNotFound) {
  WaitingChild child([] { return true; });
  const pid_t pid = child.pid();
  child.kill();
  const absl::Status status = read_maps(pid).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("/proc/", pid, "/maps: ENOENT")));
}

// A process that maps, splits and merges while it is read: never a malformed answer.
TEST_F(RealMappings, ChangingProcess) {
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    constexpr size_t kPages = 200;
    char* area = static_cast<char*>(map(PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, kPages * kPageSize));
    while (!stop) {
      for (size_t i = 0; i < kPages; i += 2) ::mprotect(area + i * kPageSize, kPageSize, PROT_READ | PROT_WRITE);
      ::mprotect(area, kPages * kPageSize, PROT_READ);
    }
    ::munmap(area, kPages * kPageSize);
  });
  int unsettled = 0;
  for (int i = 0; i < 200; ++i) {
    const auto maps = read_maps(::getpid());
    if (maps.ok()) continue;
    // After ten readings that all caught it in the act, the answer says so.
    EXPECT_EQ(maps.status().code(), absl::StatusCode::kAborted) << maps.status();
    ++unsettled;
  }
  stop = true;
  changer.join();
  EXPECT_LT(unsettled, 200);
}

}  // namespace
}  // namespace stillpoint::procfs
