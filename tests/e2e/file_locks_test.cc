// File locks of a process tree: there again before the program runs, and nobody's who took one meanwhile.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <string>

#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

enum class As { kTester, kOrdinaryUser };
std::string name_of(const testing::TestParamInfo<As>& info) {
  return info.param == As::kTester ? "Tester" : "OrdinaryUser";
}
uid_t uid_of(As as) { return as == As::kOrdinaryUser && is_root() ? kNobody : static_cast<uid_t>(-1); }

class FileLocks : public ::testing::TestWithParam<As> {
 protected:
  FileLocks() : job_(uid_of(GetParam())) {}

  size_t beats() const { return count_lines(read_file(job_.path("report"))); }
  void start() {
    job_.start({built_program("lockers"), job_.path("report")});
    ASSERT_TRUE(goes_on());
  }
  bool goes_on() {
    const size_t before = beats();
    return eventually([&] { return beats() > before + 3 || !job_.running(); }) && job_.running();
  }
  void ends_well() {
    write_file(job_.path("report.stop"), "");
    ASSERT_EQ(job_.wait(), 0) << job_.said() << errors_in(job_.path("report"));
    EXPECT_THAT(errors_in(job_.path("report")), IsEmpty());
    const std::string report = read_file(job_.path("report"));
    EXPECT_THAT(report, AllOf(HasSubstr("flock came\n"), HasSubstr("fcntl came\n"), HasSubstr("end\n")));
  }
  // Somebody else takes a lock, once the program has gone, and holds it meanwhile.
  void take_and_hold(const std::string& file, bool posix, const std::function<void(pid_t)>& meanwhile) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t holder = ::fork();
    if (holder == 0) {
      const int fd = ::open(job_.path(file).c_str(), O_RDWR);
      struct flock lock = {};
      lock.l_type = F_WRLCK;
      const bool held = posix ? ::fcntl(fd, F_SETLKW, &lock) == 0 : ::flock(fd, LOCK_EX) == 0;
      if (!held || ::write(ready[1], "", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char byte;
    ::close(ready[1]);
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    meanwhile(holder);
    ::kill(holder, SIGKILL);
    ::waitpid(holder, nullptr, 0);
  }

  ProgramJob job_;
};

TEST_P(FileLocks, AreThereInEveryLife) {
  start();
  for (int life = 1; life <= rounds(10); ++life) {
    ASSERT_THAT(job_.round(), IsEmpty()) << "life " << life;
    ASSERT_TRUE(goes_on()) << job_.said() << errors_in(job_.path("report"));
  }
  ends_well();
}

TEST_P(FileLocks, AreThereInAPidNamespaceToo) {
  start();
  for (int life = 1; life <= 2; ++life) {
    ASSERT_THAT(job_.round({{"STILLPOINT_DISABLE", "clone3_set_tid"}}), IsEmpty()) << "life " << life;
    ASSERT_TRUE(goes_on()) << job_.said() << errors_in(job_.path("report"));
  }
  ends_well();
}

TEST_P(FileLocks, AreReadWithoutKcmpAndCopies) {
  start();
  ASSERT_THAT(job_.round({{"STILLPOINT_DISABLE", "kcmp"}}), IsEmpty());
  ASSERT_TRUE(goes_on()) << job_.said() << errors_in(job_.path("report"));
  ends_well();
}

TEST_P(FileLocks, StayTheProgramsOwnAfterACheckpoint) {
  start();
  for (int i = 0; i < rounds(10); ++i) {
    ASSERT_EQ(job_.checkpoint({"--keep", "1"}).exit_code, 0);
    ASSERT_TRUE(goes_on()) << errors_in(job_.path("report"));
  }
  ends_well();
}

TEST_P(FileLocks, OfSomebodyElseRefuseARestart) {
  start();
  ASSERT_EQ(job_.checkpoint().exit_code, 0);
  job_.kill();
  const size_t before = beats();
  for (const bool posix : {true, false}) {
    const std::string file = posix ? "report.posix" : "report.exclusive";
    take_and_hold(file, posix, [&](pid_t holder) {
      EXPECT_FALSE(job_.restart());
      EXPECT_THAT(job_.said(), AllOf(HasSubstr(job_.path(file)), HasSubstr("pid " + std::to_string(holder)),
                                     HasSubstr("and restart again"), Not(HasSubstr("restored"))));
    });
  }
  EXPECT_EQ(beats(), before);
  ASSERT_TRUE(job_.restart()) << job_.said();
  ASSERT_TRUE(goes_on()) << job_.said();
  ends_well();
}

INSTANTIATE_TEST_SUITE_P(As, FileLocks, testing::Values(As::kTester, As::kOrdinaryUser), name_of);

}  // namespace
}  // namespace stillpoint::e2e
