#include "helper/resources/file_locks.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <string>

#include "tests/resources/round_trip.h"
#include "tests/resources/temporary_directory.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FileLocksTest : public testing::Test {
 protected:
  FileLocksTest() { write_file(directory_ / "file", "0123456789"); }
  int open_file(int flags) { return ::open((directory_ / "file").c_str(), flags | O_CLOEXEC); }
  struct flock range(short type, off_t start, off_t length) {
    struct flock lock = {};
    lock.l_type = type;
    lock.l_start = start;
    lock.l_len = length;
    return lock;
  }
  TemporaryDirectory directory_;
};

TEST_F(FileLocksTest, NoLockNoFinding) {
  const UniqueFd fd(open_file(O_RDWR));
  EXPECT_THAT(codes(audit_one(::getpid(), fd.get())), IsEmpty());
}

TEST_F(FileLocksTest, Flock) {
  const UniqueFd fd(open_file(O_RDWR));
  ASSERT_EQ(::flock(fd.get(), LOCK_EX), 0);
  const Findings findings = audit_one(::getpid(), fd.get());
  ASSERT_THAT(codes(findings), ElementsAre("SP-LOCK-FLOCK"));
  EXPECT_THAT(findings.all()[0].object, HasSubstr(directory_ / "file"));
  EXPECT_THAT(findings.all()[0].reason, HasSubstr("the whole file"));
  EXPECT_THAT(findings.all()[0].remedy, HasSubstr("release it in a stillpoint::on_pre_dump hook"));
}

TEST_F(FileLocksTest, FlockOnADirectory) {
  const UniqueFd fd(::open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(fd.get(), LOCK_SH), 0);
  EXPECT_THAT(codes(audit_one(::getpid(), fd.get())), ElementsAre("SP-LOCK-FLOCK"));
}

TEST_F(FileLocksTest, PosixRangesOneByOne) {
  const UniqueFd fd(open_file(O_RDWR));
  struct flock first = range(F_WRLCK, 2, 3), second = range(F_RDLCK, 7, 0);
  ASSERT_EQ(::fcntl(fd.get(), F_SETLK, &first), 0);
  ASSERT_EQ(::fcntl(fd.get(), F_SETLK, &second), 0);
  const Findings findings = audit_one(::getpid(), fd.get());
  ASSERT_THAT(codes(findings), ElementsAre("SP-LOCK-POSIX", "SP-LOCK-POSIX"));
  EXPECT_THAT(findings.all()[0].reason, HasSubstr("WRITE, bytes 2-4"));
  EXPECT_THAT(findings.all()[1].reason, HasSubstr("READ, bytes 7 to the end"));
}

TEST_F(FileLocksTest, OpenFileDescriptionLock) {
  const UniqueFd fd(open_file(O_RDWR));
  struct flock lock = range(F_WRLCK, 0, 4);
  ASSERT_EQ(::fcntl(fd.get(), F_OFD_SETLK, &lock), 0);
  EXPECT_THAT(codes(audit_one(::getpid(), fd.get())), ElementsAre("SP-LOCK-OFD"));
}

TEST_F(FileLocksTest, Lease) {
  const UniqueFd fd(open_file(O_RDONLY));
  if (::fcntl(fd.get(), F_SETLEASE, F_RDLCK) != 0)
    GTEST_SKIP() << "F_SETLEASE is not permitted on " << directory_.path();
  EXPECT_THAT(codes(audit_one(::getpid(), fd.get())), ElementsAre("SP-LOCK-LEASE"));
}

TEST_F(FileLocksTest, UnknownKindsAndMalformedLinesAreFindingsToo) {
  OpenFileView view;
  view.link = "/data/file";
  view.fdinfo = "pos:\t0\nlock:\t1: DELEG  ACTIVE    READ 7 fe:00:1 0 EOF\nlock:\nlock:\t\x01 2: \xff\xfe\n";
  Findings findings;
  audit_file_locks(view, findings);
  EXPECT_THAT(codes(findings), ElementsAre("SP-LOCK", "SP-LOCK", "SP-LOCK"));
}

}  // namespace
}  // namespace stillpoint
