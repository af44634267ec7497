// eventfd, signalfd, memfd, devices.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <regex>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "helper/resources/kinds.h"
#include "tests/resources/round_trip.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// What one read takes; 0 when it would block.
uint64_t take(int fd) {
  uint64_t value = 0;
  return ::read(fd, &value, sizeof value) == sizeof value ? value : 0;
}

TEST(EventfdTest, KeepsTheCounter) {
  const int fd = ::eventfd(0, EFD_NONBLOCK);
  const uint64_t large = UINT64_MAX - 1;
  ASSERT_EQ(::write(fd, &large, sizeof large), 8);
  RoundTrip trip;
  trip.add(fd);
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  EXPECT_EQ(take(fd), large);
  EXPECT_EQ(take(fd), 0u);
}

TEST(EventfdTest, SemaphoreStaysOne) {
  const int fd = ::eventfd(3, EFD_NONBLOCK | EFD_SEMAPHORE), empty = ::eventfd(0, EFD_NONBLOCK);
  RoundTrip trip;
  trip.add(fd);
  trip.add(empty);
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  EXPECT_EQ(take(fd), 1u);
  EXPECT_EQ(take(fd), 1u);
  EXPECT_EQ(take(fd), 1u);
  EXPECT_EQ(take(fd), 0u);
  EXPECT_EQ(take(empty), 0u);
}

// Kernels before 6.5 do not tell whether it is a semaphore.
TEST(EventfdTest, ModeIsFoundOutWhereFdinfoDoesNotTellAndTheCounterStays) {
  for (const unsigned count : {0u, 1u, 2u, 7u}) {
    for (const bool semaphore : {false, true}) {
      const UniqueFd fd(::eventfd(count, EFD_NONBLOCK | (semaphore ? EFD_SEMAPHORE : 0)));
      OpenFileView view = view_of(::getpid(), fd.get(), fd.get());
      view.fdinfo = std::regex_replace(view.fdinfo, std::regex("eventfd-semaphore:[^\n]*\n"), "");
      ASSERT_FALSE(absl::StrContains(view.fdinfo, "semaphore"));
      FakeDumpContext context;
      model::OpenFile message;
      ASSERT_EQ(eventfd_kind().dump(view, context, message), absl::OkStatus());
      EXPECT_EQ(take(fd.get()), semaphore ? (count > 0 ? 1 : 0) : count) << "the probe changed the counter";
      FakeRestoreContext restore;
      const absl::StatusOr<UniqueFd> restored = eventfd_kind().restore(message, restore);
      ASSERT_EQ(restored.status(), absl::OkStatus());
      EXPECT_EQ(take(restored->get()), semaphore ? (count > 0 ? 1 : 0) : count);
    }
  }
}

TEST(SignalfdTest, ReadsTheSameSignals) {
  sigset_t mask, old;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  sigaddset(&mask, SIGRTMAX);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &mask, &old), 0);
  const int fd = ::signalfd(-1, &mask, SFD_NONBLOCK);
  RoundTrip trip;
  trip.add(fd);
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  ASSERT_EQ(::raise(SIGRTMAX), 0);
  signalfd_siginfo info = {};
  ASSERT_EQ(::read(fd, &info, sizeof info), static_cast<ssize_t>(sizeof info));
  EXPECT_EQ(info.ssi_signo, static_cast<uint32_t>(SIGRTMAX));
  ASSERT_EQ(::raise(SIGUSR2), 0);
  ASSERT_EQ(::read(fd, &info, sizeof info), static_cast<ssize_t>(sizeof info));
  EXPECT_EQ(info.ssi_signo, static_cast<uint32_t>(SIGUSR2));
  EXPECT_LT(::read(fd, &info, sizeof info), 0);
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &old, nullptr), 0);
}

TEST(MemfdTest, DescriptionsOfOneMemory) {
  const int fd = ::memfd_create("buffer", 0);
  ASSERT_EQ(::write(fd, "0123456789", 10), 10);
  const int reader = ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY);
  ASSERT_EQ(::lseek(reader, 4, SEEK_SET), 4);
  RoundTrip trip;
  trip.add(fd);
  trip.add(reader);
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  char bytes[3];
  ASSERT_EQ(::read(reader, bytes, 3), 3);
  EXPECT_EQ(std::string(bytes, 3), "456");
  EXPECT_LT(::write(reader, "x", 1), 0);
  ASSERT_EQ(::write(fd, "A", 1), 1);  // at offset 10
  ASSERT_EQ(::pread(reader, bytes, 1, 10), 1);
  EXPECT_EQ(bytes[0], 'A');
  EXPECT_EQ(trip.dump_context.shared_memories.size(), 1u);
}

TEST(MemfdTest, OpaqueMemoryIsAFinding) {
  RoundTrip trip;
  trip.add_without_copy(::memfd_create("buffer", 0));
  EXPECT_THAT(codes(trip.audit()), ElementsAre("SP-MEMFD-OPAQUE"));
}

TEST(DeviceTest, VirtualDevicesAreOpenedAgain) {
  RoundTrip trip;
  const int null_device = ::open("/dev/null", O_WRONLY);
  const int zero = ::open("/dev/zero", O_RDONLY);
  const int full = ::open("/dev/full", O_RDWR);
  const int random = ::open("/dev/urandom", O_RDONLY);
  for (const int fd : {null_device, zero, full, random}) trip.add(fd);
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  char byte = 'x';
  EXPECT_EQ(::write(null_device, "abc", 3), 3);
  EXPECT_LT(::read(null_device, &byte, 1), 0);
  ASSERT_EQ(::read(zero, &byte, 1), 1);
  EXPECT_EQ(byte, 0);
  EXPECT_EQ(::write(full, "x", 1), -1);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(::read(random, &byte, 1), 1);
}

TEST(DeviceTest, OtherFileInTheDevicesPlaceIsRefused) {
  RoundTrip trip;
  trip.add(::open("/dev/null", O_RDWR));
  ASSERT_EQ(trip.dump(), absl::OkStatus());
  trip.lose();
  trip.restore_context.path_map["/dev/null"] = "/dev/zero";
  EXPECT_FALSE(trip.restore().ok());
}

TEST(DeviceTest, TerminalsAreTheStartersOrFindings) {
  const int master = ::open("/dev/ptmx", O_RDWR | O_NOCTTY);
  if (master < 0) GTEST_SKIP() << "no pseudoterminals: /dev/ptmx cannot be opened";
  ASSERT_EQ(::unlockpt(master), 0);
  char name[100];
  ASSERT_EQ(::ptsname_r(master, name, sizeof name), 0);
  const int terminal = ::open(name, O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0);
  RoundTrip trip;
  trip.add(terminal);
  EXPECT_THAT(codes(trip.audit()), ElementsAre("SP-TTY"));
  EXPECT_THAT(codes(audit_one(::getpid(), master)), ElementsAre("SP-PTMX"));
  trip.dump_context.inherited_numbers.insert(terminal);
  EXPECT_THAT(codes(trip.audit()), IsEmpty());
  const UniqueFd restarters(::memfd_create("restarter", MFD_CLOEXEC));
  trip.restore_context.restarter_fds[terminal] = restarters.get();
  ASSERT_EQ(trip.travel(), absl::OkStatus());
  struct stat given = {}, expected = {};
  ASSERT_EQ(::fstat(terminal, &given), 0);
  ASSERT_EQ(::fstat(restarters.get(), &expected), 0);
  EXPECT_EQ(given.st_ino, expected.st_ino);
  ::close(master);
}

}  // namespace
}  // namespace stillpoint
