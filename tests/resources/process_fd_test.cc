// Descriptors that the new process opens itself: pidfds, files of its own in /proc.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/syscalls.h"
#include "helper/procfs/process_files.h"
#include "tests/resources/round_trip.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A child that waits to be killed.
class Child {
 public:
  Child() : pid_(::fork()) {
    if (pid_ == 0) {
      for (;;) ::pause();
    }
  }
  ~Child() { end(); }
  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

std::string read_some(int fd) {
  std::string bytes(4096, '\0');
  const ssize_t n = ::read(fd, bytes.data(), bytes.size());
  bytes.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return bytes;
}

TEST(PidfdTest, OfItselfIsThereAgainAtAllItsNumbers) {
  const int fd = sys_pidfd_open(::getpid(), 0);
  ASSERT_GE(fd, 0);
  const int twin = ::fcntl(fd, F_DUPFD, 0);  // without close-on-exec
  RoundTrip trip;
  trip.dump_context.rest_in_image = true;
  trip.add({fd, twin});
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  EXPECT_EQ(sys_pidfd_send_signal(fd, 0), 0);
  EXPECT_THAT(procfs::read_text(absl::StrCat("/proc/self/fdinfo/", twin)).value_or(""),
              HasSubstr(absl::StrCat("Pid:\t", ::getpid())));
  EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(::fcntl(twin, F_GETFD), 0);
  EXPECT_EQ(sys_kcmp(::getpid(), ::getpid(), 0, static_cast<uint64_t>(fd), static_cast<uint64_t>(twin)), 0);
}

// A number below that nothing has: the kernel opens there first.
TEST(PidfdTest, ComesBackAboveAFreeNumber) {
  const int hole = ::open("/dev/null", O_RDONLY);
  const int fd = sys_pidfd_open(::getpid(), 0);
  const int twin = ::dup(fd);
  ::close(hole);
  ASSERT_LT(hole, fd);
  RoundTrip trip;
  trip.dump_context.rest_in_image = true;
  trip.add({fd, twin});
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  EXPECT_EQ(sys_pidfd_send_signal(fd, 0), 0);
  EXPECT_EQ(sys_pidfd_send_signal(twin, 0), 0);
  EXPECT_LT(::fcntl(hole, F_GETFD), 0) << "the free number is not free any more";
}

TEST(PidfdTest, NoFdIsLeftOver) {
  const int fd = sys_pidfd_open(::getpid(), 0);
  const size_t before = procfs::read_fds(::getpid())->size();
  RoundTrip trip;
  trip.dump_context.rest_in_image = true;
  trip.add(fd);
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  EXPECT_EQ(procfs::read_fds(::getpid())->size(), before);
}

TEST(PidfdTest, OfAnotherProcessIsAFinding) {
  Child child;
  const int fd = sys_pidfd_open(child.pid(), 0);
  RoundTrip trip;
  trip.dump_context.rest_in_image = true;
  trip.add(fd);
  EXPECT_THAT(codes(trip.audit()), ElementsAre("SP-PIDFD"));
  trip.dump_context.tree.insert(child.pid());
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
}

TEST(PidfdTest, OfAnEndedProcessIsAFinding) {
  Child child;
  const int fd = sys_pidfd_open(child.pid(), 0);
  child.end();
  RoundTrip trip;
  trip.dump_context.rest_in_image = true;
  trip.add(fd);
  EXPECT_THAT(codes(trip.audit()), ElementsAre("SP-PIDFD"));
}

TEST(ProcFileTest, OwnFileIsOpenedByTheProcessItself) {
  const int fd = ::open(absl::StrCat("/proc/", ::getpid(), "/cmdline").c_str(), O_RDONLY | O_CLOEXEC);
  const std::string whole = read_some(fd);
  ASSERT_GT(whole.size(), 3u);
  ASSERT_EQ(::lseek(fd, 3, SEEK_SET), 3);
  RoundTrip trip;
  trip.dump_context.rest_in_image = true;
  trip.add(fd);
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  EXPECT_FALSE(trip.restore_context.calls.empty());
  EXPECT_EQ(read_some(fd), whole.substr(3));
}

TEST(ProcFileTest, OwnDirectory) {
  const int fd = ::open("/proc/self/task", O_RDONLY | O_DIRECTORY);
  RoundTrip trip;
  trip.dump_context.rest_in_image = true;
  trip.add(fd);
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  EXPECT_EQ(::faccessat(fd, absl::StrCat(::getpid()).c_str(), F_OK, 0), 0);
}

TEST(ProcFileTest, FileOfTheSystemIsOpenedByTheRestorer) {
  const int fd = ::open("/proc/meminfo", O_RDONLY);
  RoundTrip trip;
  trip.dump_context.rest_in_image = true;
  trip.add(fd);
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  EXPECT_TRUE(trip.restore_context.calls.empty());
  EXPECT_THAT(read_some(fd), HasSubstr("MemTotal"));
}

TEST(ProcFileTest, FileOfAnotherProcessIsAFinding) {
  Child child;
  const int running = ::open(absl::StrCat("/proc/", child.pid(), "/stat").c_str(), O_RDONLY);
  EXPECT_THAT(codes(audit_one(::getpid(), running)), ElementsAre("SP-PROC-FOREIGN"));
  child.end();
  EXPECT_THAT(codes(audit_one(::getpid(), running)), ElementsAre("SP-PROC-FOREIGN"));
  ::close(running);
}

}  // namespace
}  // namespace stillpoint
