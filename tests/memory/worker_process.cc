#include "tests/memory/worker_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "helper/base/errors.h"
#include "helper/base/syscalls.h"

namespace stillpoint {

absl::StatusOr<WorkerProcess> WorkerProcess::start(const SessionSize& size, const std::function<void()>& prepare) {
  ASSIGN_OR_RETURN(WorkerSession session, WorkerSession::create(size));
  RETURN_IF_ERROR(session.place(free_address(session.region_size())));
  const pid_t pid = ::fork();
  if (pid < 0) return errno_status(errno, "fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const rlimit no_core = {0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    if (prepare) prepare();
    session.enter();
  }
  WorkerProcess process(std::move(session), pid);
  UniqueFd pidfd(sys_pidfd_open(pid, 0));
  if (!pidfd.valid()) return errno_status(errno, "pidfd_open");
  process.session().watch(std::move(pidfd), "child");
  return process;
}

WorkerProcess::~WorkerProcess() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  wait_for_end();
}

int WorkerProcess::wait_for_end() {
  int status = -1;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  return status;
}

uint64_t free_address(uint64_t size) {
  void* const hole = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  EXPECT_NE(hole, MAP_FAILED);
  ::munmap(hole, size);
  return reinterpret_cast<uint64_t>(hole);
}

TestMemory::TestMemory(size_t size) : size_(size) {
  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(memory, MAP_FAILED);
  data_ = static_cast<char*>(memory);
}

TestMemory::~TestMemory() { ::munmap(data_, size_); }

void TestMemory::fill(uint64_t seed) {
  uint64_t value = seed * 0x9e3779b97f4a7c15 + 1;
  for (size_t i = 0; i + sizeof value <= size_; i += sizeof value) {
    value ^= value << 13;
    value ^= value >> 7;
    value ^= value << 17;
    std::memcpy(data_ + i, &value, sizeof value);
  }
}

UniqueFd temporary_file(const std::string& directory) {
  UniqueFd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd.valid()) return fd;
  std::string path = directory + "/stillpoint-memory-test-XXXXXX";
  fd.reset(::mkostemp(path.data(), O_CLOEXEC));
  EXPECT_TRUE(fd.valid()) << path << ": " << std::strerror(errno);
  ::unlink(path.c_str());
  return fd;
}

std::string file_contents(int fd) {
  // An open file description of its own: O_DIRECT on the caller's would want an aligned buffer.
  const UniqueFd own(::open(absl::StrCat("/proc/self/fd/", fd).c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(own.valid()) << std::strerror(errno);
  absl::StatusOr<std::string> contents = read_whole(own.get(), "test file");
  EXPECT_TRUE(contents.ok()) << contents.status();
  return contents.ok() ? *std::move(contents) : "";
}

std::vector<uint64_t> checksums_by_library(const std::string& contents) {
  std::vector<uint64_t> sums;
  for (size_t at = 0; at < contents.size(); at += worker::kChunkSize) {
    sums.push_back(XXH3_64bits(contents.data() + at, std::min<size_t>(worker::kChunkSize, contents.size() - at)));
  }
  return sums;
}

std::string expected_contents(absl::Span<const worker::Extent> extents, uint64_t file_size) {
  std::string contents(file_size, '\0');
  for (const worker::Extent& extent : extents) {
    std::memcpy(&contents[extent.offset], reinterpret_cast<const void*>(extent.address), extent.length);
  }
  return contents;
}

std::string memory_of(pid_t pid, uint64_t address, size_t size) {
  std::string bytes(size, '\0');
  const absl::Status status = read_memory(pid, address, bytes.data(), size);
  EXPECT_TRUE(status.ok()) << status;
  return bytes;
}

}  // namespace stillpoint
