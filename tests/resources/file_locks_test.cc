#include "helper/resources/file_locks.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/resources/round_trip.h"
#include "tests/resources/temporary_directory.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

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

std::vector<model::FileLock> locks_of(int fd) {
  FileLockLedger ledger;
  std::vector<model::FileLock> locks;
  ledger.add(view_of(::getpid(), fd, fd), ::getpid(), /*of_description=*/true, locks);
  return locks;
}

std::vector<std::string> descriptions(const std::vector<model::FileLock>& locks) {
  std::vector<std::string> texts;
  for (const model::FileLock& lock : locks) texts.push_back(describe(lock));
  return texts;
}

std::vector<std::string> audit(const OpenFileView& view) {
  Findings findings;
  audit_file_locks(view, findings);
  return codes(findings);
}

absl::Status retake(const std::vector<model::FileLock>& locks, int fd) {
  model::OpenFile file;
  for (const model::FileLock& lock : locks) *file.add_locks() = lock;
  return retake_file_locks(file, fd, "/proc");
}

TEST_F(FileLocksTest, OfEveryKindAreRead) {
  const UniqueFd fd(open_file(O_RDWR));
  EXPECT_THAT(locks_of(fd.get()), IsEmpty());
  struct flock first = range(F_WRLCK, 2, 3), second = range(F_RDLCK, 7, 0), whole = range(F_RDLCK, 20, 1);
  ASSERT_EQ(::fcntl(fd.get(), F_SETLK, &first), 0);
  ASSERT_EQ(::fcntl(fd.get(), F_SETLK, &second), 0);
  ASSERT_EQ(::fcntl(fd.get(), F_OFD_SETLK, &whole), 0);
  ASSERT_EQ(::flock(fd.get(), LOCK_EX), 0);
  const std::vector<model::FileLock> locks = locks_of(fd.get());
  EXPECT_THAT(descriptions(locks), UnorderedElementsAre("an flock(2) lock for writing on the whole file",
                                                        "a POSIX lock for writing on bytes 2-4",
                                                        "a POSIX lock for reading on bytes 7 to the end",
                                                        "an open file description lock for reading on bytes 20-20"));
  for (const model::FileLock& lock : locks) {
    EXPECT_EQ(lock.pid(), lock.kind() == model::FileLock::POSIX ? ::getpid() : 0);
  }
  EXPECT_THAT(audit(view_of(::getpid(), fd.get(), fd.get())), IsEmpty());
}

TEST_F(FileLocksTest, OfAProcessAreCountedOnceHoweverManyFdsShowThem) {
  const UniqueFd fd(open_file(O_RDWR)), copy(::dup(fd.get())), other(open_file(O_RDWR));
  struct flock lock = range(F_WRLCK, 2, 3);
  ASSERT_EQ(::fcntl(fd.get(), F_SETLK, &lock), 0);
  FileLockLedger ledger;
  std::vector<model::FileLock> locks;
  for (const UniqueFd* each : {&other, &copy, &fd}) {
    ledger.add(view_of(::getpid(), each->get(), each->get()), ::getpid(), /*of_description=*/true, locks);
  }
  EXPECT_THAT(descriptions(locks), ElementsAre("a POSIX lock for writing on bytes 2-4"));
  Findings findings;
  ledger.audit({::getpid()}, findings);
  EXPECT_THAT(codes(findings), IsEmpty());
}

TEST_F(FileLocksTest, ThatNoFdShowsAreAFinding) {
  const UniqueFd fd(open_file(O_RDWR));
  struct flock lock = range(F_WRLCK, 2, 3);
  ASSERT_EQ(::fcntl(fd.get(), F_SETLK, &lock), 0);
  Findings findings;
  FileLockLedger().audit({::getpid()}, findings);
  EXPECT_THAT(codes(findings), ElementsAre("SP-LOCK"));
  Findings of_nobody;
  FileLockLedger().audit({}, of_nobody);
  EXPECT_THAT(codes(of_nobody), IsEmpty());
}

TEST_F(FileLocksTest, OfTheDescriptionAreTakenAgain) {
  std::vector<model::FileLock> locks;
  {
    const UniqueFd fd(open_file(O_RDWR));
    struct flock lock = range(F_WRLCK, 3, 4);
    ASSERT_EQ(::fcntl(fd.get(), F_OFD_SETLK, &lock), 0);
    ASSERT_EQ(::flock(fd.get(), LOCK_EX), 0);
    locks = locks_of(fd.get());
  }
  const UniqueFd fd(open_file(O_RDWR)), other(open_file(O_RDWR));
  ASSERT_TRUE(retake(locks, fd.get()).ok()) << retake(locks, fd.get());
  EXPECT_THAT(descriptions(locks_of(fd.get())), ElementsAreArray(descriptions(locks)));
  EXPECT_NE(::flock(other.get(), LOCK_SH | LOCK_NB), 0);

  const absl::Status refused = retake(locks, other.get());
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr(absl::StrCat("pid ", ::getpid(), " (")));
  EXPECT_THAT(refused.message(), HasSubstr(directory_ / "file"));
}

TEST_F(FileLocksTest, OfAProcessAreTriedAndNotTaken) {
  model::FileLock lock;
  lock.set_kind(model::FileLock::POSIX), lock.set_write(true), lock.set_first(5), lock.set_last(9);
  const UniqueFd fd(open_file(O_RDWR)), other(open_file(O_RDWR));
  ASSERT_TRUE(retake({lock}, fd.get()).ok());
  EXPECT_THAT(locks_of(fd.get()), IsEmpty());
  struct flock taken = range(F_RDLCK, 9, 1);
  ASSERT_EQ(::fcntl(other.get(), F_OFD_SETLK, &taken), 0);
  const absl::Status refused = retake({lock}, fd.get());
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("a POSIX lock for writing on bytes 5-9"));
}

TEST_F(FileLocksTest, OfTenThousandRanges) {
  constexpr int kRanges = 10'000;
  const UniqueFd fd(open_file(O_RDWR));
  for (off_t i = 0; i < kRanges; ++i) {
    struct flock lock = range(F_WRLCK, 2 * i, 1);
    ASSERT_EQ(::fcntl(fd.get(), F_OFD_SETLK, &lock), 0);
  }
  const std::vector<model::FileLock> locks = locks_of(fd.get());
  EXPECT_EQ(locks.size(), size_t{kRanges});
  EXPECT_TRUE(retake(locks, fd.get()).ok());
}

TEST_F(FileLocksTest, OfADirectory) {
  const UniqueFd fd(::open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(fd.get(), LOCK_SH), 0);
  EXPECT_THAT(descriptions(locks_of(fd.get())), ElementsAre("an flock(2) lock for reading on the whole file"));
}

TEST_F(FileLocksTest, LeasesAreFindings) {
  const UniqueFd fd(open_file(O_RDONLY));
  if (::fcntl(fd.get(), F_SETLEASE, F_RDLCK) != 0)
    GTEST_SKIP() << "F_SETLEASE is not permitted on " << directory_.path();
  EXPECT_THAT(audit(view_of(::getpid(), fd.get(), fd.get())), ElementsAre("SP-LOCK-LEASE"));
  EXPECT_THAT(locks_of(fd.get()), IsEmpty());
}

TEST_F(FileLocksTest, UnknownKindsAndMalformedLinesAreFindingsToo) {
  OpenFileView view;
  view.link = "/data/file";
  view.fdinfo =
      "pos:\t0\nlock:\t1: DELEG  ACTIVE    READ 7 fe:00:1 0 EOF\nlock:\nlock:\t\x01 2: \xff\xfe\n"
      "lock:\t1: POSIX  ADVISORY  WRITE 7 fe:00:1 9 3\n";
  EXPECT_THAT(audit(view), ElementsAre("SP-LOCK", "SP-LOCK", "SP-LOCK", "SP-LOCK"));
  FileLockLedger ledger;
  std::vector<model::FileLock> locks;
  ledger.add(view, 7, /*of_description=*/true, locks);
  EXPECT_THAT(locks, IsEmpty());
}

}  // namespace
}  // namespace stillpoint
