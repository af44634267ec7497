#include "helper/resources/process_audit.h"

#include <elf.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "helper/resources/mapping_audit.h"
#include "tests/resources/round_trip.h"
#include "tests/resources/temporary_directory.h"

namespace stillpoint {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

// A child that has called `prepare` and then waits. `prepare` returns 0, or the errno of what cannot be had.
class Child {
 public:
  explicit Child(const std::function<int()>& prepare) {
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setpgid(0, 0);
      const int error = prepare();
      if (::syscall(SYS_write, ready[1], &error, sizeof error) != sizeof error) ::_exit(1);
      for (;;) ::syscall(SYS_read, ready[0], &ready, 0), ::syscall(SYS_pause);
    }
    ::setpgid(pid_, pid_);
    ::close(ready[1]);
    EXPECT_EQ(::read(ready[0], &error_, sizeof error_), static_cast<ssize_t>(sizeof error_));
    ::close(ready[0]);
  }
  ~Child() {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  int error() const { return error_; }
  Findings audit() const {
    Findings findings;
    audit_process(pid_, pid_, procfs::read_smaps(pid_).value_or(std::vector<procfs::Mapping>()), findings);
    return findings;
  }

 private:
  pid_t pid_ = -1;
  int error_ = 0;
};

int failed(long result) { return result < 0 ? errno : 0; }

TEST(ProcessAuditTest, PlainProcessHasNoFindings) {
  const Child child([] { return 0; });
  const Findings findings = child.audit();
  EXPECT_THAT(codes(findings), IsEmpty()) << findings.all()[0].object << ": " << findings.all()[0].reason;
}

TEST(ProcessAuditTest, SeccompFilterOfItsOwn) {
  const Child child([] {
    sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    sock_fprog program = {1, allow};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    return failed(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
  });
  if (child.error() != 0) GTEST_SKIP() << "seccomp filters are not to be had: " << std::strerror(child.error());
  EXPECT_THAT(codes(child.audit()), ElementsAre("SP-SECCOMP"));
}

// What clone(2) shares is found when the child is looked at.
std::vector<std::string> codes_of_its_child(const Child& child) {
  const absl::StatusOr<std::vector<pid_t>> children = procfs::read_children(child.pid());
  if (!children.ok() || children->size() != 1) return {"not one child"};
  Findings findings;
  audit_process(children->front(), children->front(), {}, findings);
  return codes(findings);
}

int wait_forever(void*) {
  for (;;) ::syscall(SYS_pause);
}

TEST(ProcessAuditTest, AddressSpaceSharedWithAnotherProcess) {
  alignas(16) static char stack[65536];
  const Child child([] { return failed(::clone(wait_forever, stack + sizeof stack, CLONE_VM | SIGCHLD, nullptr)); });
  ASSERT_EQ(child.error(), 0);
  EXPECT_THAT(codes_of_its_child(child), Contains("SP-SHARED-ADDRESS-SPACE"));
}

TEST(ProcessAuditTest, TablesSharedWithAnotherProcess) {
  alignas(16) static char stack[65536];
  const Child child(
      [] { return failed(::clone(wait_forever, stack + sizeof stack, CLONE_FILES | CLONE_FS | SIGCHLD, nullptr)); });
  ASSERT_EQ(child.error(), 0);
  EXPECT_THAT(codes_of_its_child(child), UnorderedElementsAre("SP-SHARED-FILE-TABLE", "SP-SHARED-DIRECTORY"));
}

TEST(ProcessAuditTest, OtherNamespace) {
  const Child child([] {
    if (::unshare(CLONE_NEWUTS) == 0) return 0;
    return failed(::unshare(CLONE_NEWUSER | CLONE_NEWUTS));
  });
  if (child.error() != 0) GTEST_SKIP() << "no namespace can be made: " << std::strerror(child.error());
  const Findings findings = child.audit();
  ASSERT_THAT(codes(findings), Contains("SP-NAMESPACE"));
  bool names_uts = false;
  for (const Finding& finding : findings.all()) names_uts |= finding.reason.find("uts") != std::string::npos;
  EXPECT_TRUE(names_uts);
}

TEST(ProcessAuditTest, OtherRoot) {
  TemporaryDirectory directory;
  const Child child([&] { return failed(::chroot(directory.path().c_str())); });
  if (child.error() != 0) GTEST_SKIP() << "chroot: " << std::strerror(child.error());
  const Findings findings = child.audit();
  ASSERT_THAT(codes(findings), ElementsAre("SP-CHROOT"));
  EXPECT_THAT(findings.all()[0].reason, HasSubstr(directory.path()));
}

// A program of 32 bits that does nothing but wait: pause(2) by int $0x80, again and again.
std::string pausing_elf32() {
  const unsigned char code[] = {0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7};
  Elf32_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS32;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_386;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof header;
  header.e_ehsize = sizeof header;
  header.e_phentsize = sizeof(Elf32_Phdr);
  header.e_phnum = 1;
  Elf32_Phdr segment = {};
  segment.p_type = PT_LOAD;
  segment.p_vaddr = 0x08048000;
  segment.p_filesz = segment.p_memsz = sizeof header + sizeof segment + sizeof code;
  segment.p_flags = PF_R | PF_X;
  segment.p_align = 4096;
  header.e_entry = segment.p_vaddr + sizeof header + sizeof segment;
  std::string file(reinterpret_cast<const char*>(&header), sizeof header);
  file.append(reinterpret_cast<const char*>(&segment), sizeof segment);
  return file.append(reinterpret_cast<const char*>(code), sizeof code);
}

TEST(ProcessAuditTest, Program32Bit) {
  TemporaryDirectory directory;
  const std::string path = directory / "program32";
  write_file(path, pausing_elf32());
  ASSERT_EQ(::chmod(path.c_str(), 0700), 0);
  int status_pipe[2];
  ASSERT_EQ(::pipe2(status_pipe, O_CLOEXEC), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::execl(path.c_str(), "program32", nullptr);
    const int error = errno;
    ::_exit(::write(status_pipe[1], &error, sizeof error) > 0 ? 1 : 2);
  }
  ::close(status_pipe[1]);
  int error = 0;
  const bool executed = ::read(status_pipe[0], &error, sizeof error) == 0;
  ::close(status_pipe[0]);
  Findings findings;
  if (executed) audit_process(pid, pid, {}, findings);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  if (!executed) GTEST_SKIP() << "the kernel runs no 32-bit programs: " << std::strerror(error);
  EXPECT_THAT(codes(findings), Contains("SP-32BIT"));
}

TEST(ProcessAuditTest, GoneProcessIsAFindingNotACrash) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  Findings findings;
  audit_process(pid, pid, {}, findings);
  EXPECT_THAT(codes(findings), Contains("SP-UNREADABLE"));
}

std::vector<std::string> mapping_codes(pid_t pid) {
  Findings findings;
  audit_mappings(pid, procfs::read_smaps(pid).value_or(std::vector<procfs::Mapping>()), findings);
  return codes(findings);
}

TEST(MappingAuditTest, OwnMappingsAreFine) {
  ASSERT_FALSE(procfs::read_smaps(::getpid()).value().empty());
  EXPECT_THAT(mapping_codes(::getpid()), IsEmpty());
}

TEST(MappingAuditTest, AsynchronousIo) {
  unsigned long context = 0;
  if (::syscall(SYS_io_setup, 4, &context) != 0) GTEST_SKIP() << "no asynchronous I/O: " << std::strerror(errno);
  EXPECT_THAT(mapping_codes(::getpid()), ElementsAre("SP-AIO"));
  ::syscall(SYS_io_destroy, context);
}

TEST(MappingAuditTest, SecretMemory) {
  const UniqueFd fd(static_cast<int>(::syscall(SYS_memfd_secret, 0)));
  if (!fd.valid()) GTEST_SKIP() << "memfd_secret: " << std::strerror(errno);
  ASSERT_EQ(::ftruncate(fd.get(), 4096), 0);
  void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) GTEST_SKIP() << "mmap of secret memory: " << std::strerror(errno);
  EXPECT_THAT(mapping_codes(::getpid()), Contains("SP-SECRETMEM"));
  ::munmap(memory, 4096);
}

TEST(MappingAuditTest, DevZeroIsMemory) {
  const UniqueFd fd(::open("/dev/zero", O_RDWR));
  void* shared = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  void* own = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd.get(), 0);
  ASSERT_NE(shared, MAP_FAILED);
  ASSERT_NE(own, MAP_FAILED);
  EXPECT_THAT(mapping_codes(::getpid()), IsEmpty());
  ::munmap(shared, 4096);
  ::munmap(own, 4096);
}

TEST(MappingAuditTest, NamesAndFlagsOfOtherMachines) {
  const auto codes_of = [](const std::string& name, std::vector<std::string> flags) {
    procfs::Mapping mapping;
    mapping.start = 0x1000;
    mapping.end = 0x2000;
    mapping.name = name;
    mapping.vm_flags = std::move(flags);
    Findings findings;
    audit_mappings(::getpid(), {mapping}, findings);
    for (const Finding& finding : findings.all()) {
      EXPECT_THAT(finding.object, HasSubstr("1000-2000"));
      EXPECT_THAT(finding.reason, Not(IsEmpty()));
      EXPECT_THAT(finding.remedy, Not(IsEmpty()));
    }
    return codes(findings);
  };
  EXPECT_THAT(codes_of("/dev/accelerator0", {"rd", "io", "pf"}), ElementsAre("SP-DEVICE-MAP"));
  EXPECT_THAT(codes_of("[vvar]", {"rd", "io", "pf"}), IsEmpty());
  EXPECT_THAT(codes_of("", {"rd", "um"}), ElementsAre("SP-USERFAULTFD"));
  EXPECT_THAT(codes_of("", {"rd", "ss"}), ElementsAre("SP-SHADOW-STACK"));
  EXPECT_THAT(codes_of("[uprobes]", {}), ElementsAre("SP-UPROBES"));
  EXPECT_THAT(codes_of("anon_inode:[io_uring]", {}), ElementsAre("SP-IOURING"));
  EXPECT_THAT(codes_of("anon_inode:kvm-vcpu:0", {}), ElementsAre("SP-ANON-INODE"));
  EXPECT_THAT(codes_of("/dmabuf:", {}), ElementsAre("SP-DEVICE-MAP"));
  EXPECT_THAT(codes_of("socket:[77]", {}), ElementsAre("SP-SOCKET-MAP"));
  EXPECT_THAT(codes_of("/memfd:x (deleted)", {"rd", "sh"}), IsEmpty());
}

}  // namespace
}  // namespace stillpoint
