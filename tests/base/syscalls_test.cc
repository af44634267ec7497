#include "helper/base/syscalls.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"

namespace stillpoint {
namespace {

using testing::HasSubstr;

UniqueFd memory_file(absl::string_view content = "") {
  UniqueFd fd(::memfd_create("syscalls_test", MFD_CLOEXEC));
  EXPECT_TRUE(fd.valid());
  EXPECT_TRUE(pwrite_all(fd.get(), content.data(), content.size(), 0, "memfd").ok());
  return fd;
}

// A child that sleeps until it is killed, with whatever the parent had mapped.
class SleepingChild {
 public:
  SleepingChild() : pid_(::fork()) {
    if (pid_ == 0) {
      for (;;) ::pause();
    }
  }
  ~SleepingChild() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  SleepingChild(const SleepingChild&) = delete;
  SleepingChild& operator=(const SleepingChild&) = delete;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

char* map_pages(size_t count, int protection) {
  void* memory = ::mmap(nullptr, count * kPageSize, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(memory, MAP_FAILED);
  return static_cast<char*>(memory);
}

TEST(Syscalls, PageRounding) {
  EXPECT_EQ(page_floor(0), 0u);
  EXPECT_EQ(page_floor(4095), 0u);
  EXPECT_EQ(page_floor(4096), 4096u);
  EXPECT_EQ(page_ceil(0), 0u);
  EXPECT_EQ(page_ceil(1), 4096u);
  EXPECT_EQ(page_ceil(4096), 4096u);
  EXPECT_EQ(page_ceil(4097), 8192u);
  EXPECT_EQ(page_floor(~uint64_t{0}), ~uint64_t{4095});
}

TEST(Syscalls, PreadAllReadsAtOffset) {
  const UniqueFd fd = memory_file("0123456789");
  char buffer[4];
  ASSERT_TRUE(pread_all(fd.get(), buffer, 4, 3, "digits").ok());
  EXPECT_EQ(std::string(buffer, 4), "3456");
}

TEST(Syscalls, PreadAllNamesAnEarlyEnd) {
  const UniqueFd fd = memory_file("0123456789");
  char buffer[8];
  const absl::Status status = pread_all(fd.get(), buffer, 8, 6, "digits");
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), "digits ends at byte 10, 4 bytes early");
}

TEST(Syscalls, PwriteAllReportsTheFile) {
  const UniqueFd fd(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  const absl::Status status = pwrite_all(fd.get(), "x", 1, 0, "pages-0.bin");
  EXPECT_THAT(std::string(status.message()), HasSubstr("pages-0.bin: ENOSPC"));
}

TEST(Syscalls, ReadWholeReadsFromTheBeginning) {
  const std::string content(300000, 'q');
  const UniqueFd fd = memory_file(content);
  ASSERT_EQ(::lseek(fd.get(), 5, SEEK_SET), 5);
  const absl::StatusOr<std::string> read = read_whole(fd.get(), "memfd");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, content);
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_CUR), 5);
}

TEST(Syscalls, ReadWholeReadsProc) {
  const UniqueFd fd(::open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  const absl::StatusOr<std::string> read = read_whole(fd.get(), "maps");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(*read, HasSubstr("[stack]"));
  EXPECT_EQ(read->back(), '\n');
}

TEST(Syscalls, ReadWholeRefusesMoreThanTheLimit) {
  const UniqueFd fd = memory_file(std::string(1001, 'x'));
  EXPECT_TRUE(read_whole(fd.get(), "memfd", 1001).ok());
  const absl::StatusOr<std::string> read = read_whole(fd.get(), "memfd", 1000);
  EXPECT_EQ(read.status().code(), absl::StatusCode::kResourceExhausted);
  // Endless files end at the limit too.
  const UniqueFd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(read_whole(zero.get(), "zero", 1 << 20).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(Syscalls, WriteAllGoesThroughAPipeSmallerThanTheData) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const std::string sent(3 << 20, 'p');
  std::string received;
  std::thread drain([&] {
    std::vector<char> buffer(10007);
    for (ssize_t n; (n = ::read(reader.get(), buffer.data(), buffer.size())) > 0;) received.append(buffer.data(), n);
  });
  const absl::Status status = write_all(writer.get(), sent, "pipe");
  writer.reset();
  drain.join();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(received, sent);
}

TEST(Syscalls, WriteAllReportsAClosedDescriptor) {
  EXPECT_THAT(std::string(write_all(-1, "x", "socket").message()), HasSubstr("write to socket: EBADF"));
}

TEST(Syscalls, PidfdSendsSignals) {
  const SleepingChild child;
  ASSERT_GT(child.pid(), 0);
  const UniqueFd pidfd(sys_pidfd_open(child.pid(), 0));
  ASSERT_TRUE(pidfd.valid());
  EXPECT_EQ(sys_pidfd_send_signal(pidfd.get(), 0), 0);
  ASSERT_EQ(sys_pidfd_send_signal(pidfd.get(), SIGTERM), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child.pid(), &status, 0), child.pid());
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

TEST(Syscalls, PidfdOfNobodyFails) {
  EXPECT_EQ(sys_pidfd_open(-1, 0), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(Syscalls, PidfdGetfdDuplicatesOwnDescriptor) {
  const UniqueFd fd = memory_file("abc");
  const UniqueFd pidfd(sys_pidfd_open(::getpid(), 0));
  ASSERT_TRUE(pidfd.valid());
  const UniqueFd copy(sys_pidfd_getfd(pidfd.get(), fd.get(), 0));
  if (!copy.valid() && (errno == EPERM || errno == ENOSYS)) GTEST_SKIP() << "pidfd_getfd(2) is not permitted here";
  ASSERT_TRUE(copy.valid());
  const int same =
      sys_kcmp(::getpid(), ::getpid(), KCMP_FILE, static_cast<uint64_t>(fd.get()), static_cast<uint64_t>(copy.get()));
  if (same < 0 && errno == ENOSYS) GTEST_SKIP() << "this kernel has no kcmp(2)";
  EXPECT_EQ(same, 0);
}

TEST(Syscalls, ReadsMemoryOfAnotherProcess) {
  char* memory = map_pages(2, PROT_READ | PROT_WRITE);
  std::memset(memory, 'a', kPageSize);
  std::memset(memory + kPageSize, 'b', kPageSize);
  const SleepingChild child;
  std::memset(memory, 'x', 2 * kPageSize);  // the child keeps its own
  std::string read(2 * kPageSize, '\0');
  const absl::Status status = read_memory(child.pid(), reinterpret_cast<uint64_t>(memory), read.data(), read.size());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(read, std::string(kPageSize, 'a') + std::string(kPageSize, 'b'));
  ::munmap(memory, 2 * kPageSize);
}

// process_vm_readv stops at the page that may not be read; /proc/PID/mem reads it.
TEST(Syscalls, ReadsAndWritesThroughProtection) {
  char* memory = map_pages(2, PROT_READ | PROT_WRITE);
  std::memset(memory, 'a', 2 * kPageSize);
  ASSERT_EQ(::mprotect(memory + kPageSize, kPageSize, PROT_NONE), 0);
  const SleepingChild child;
  const uint64_t address = reinterpret_cast<uint64_t>(memory) + kPageSize - 4;
  absl::Status status = write_memory(child.pid(), address, "12345678", 8);
  EXPECT_TRUE(status.ok()) << status;
  char read[8];
  status = read_memory(child.pid(), address, read, sizeof(read));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(std::string(read, 8), "12345678");
  EXPECT_EQ(memory[kPageSize - 4], 'a');
  ::munmap(memory, 2 * kPageSize);
}

TEST(Syscalls, UnmappedMemoryIsAnErrorThatNamesTheAddress) {
  char* memory = map_pages(1, PROT_READ);
  ASSERT_EQ(::munmap(memory, kPageSize), 0);
  const SleepingChild child;
  char byte = 0;
  const absl::Status status = read_memory(child.pid(), reinterpret_cast<uint64_t>(memory), &byte, 1);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("0x", absl::Hex(reinterpret_cast<uint64_t>(memory)))));
  EXPECT_FALSE(write_memory(child.pid(), 0x10, &byte, 1).ok());
  EXPECT_FALSE(read_memory(child.pid(), ~uint64_t{0} - 4095, &byte, 1).ok());
}

}  // namespace
}  // namespace stillpoint
