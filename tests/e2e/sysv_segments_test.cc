// System V shared memory of a process tree: under its ids and keys again, and nobody's whom it does not belong to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/shm.h>
#include <unistd.h>

#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

enum class As { kTester, kOrdinaryUser };
std::string name_of(const testing::TestParamInfo<As>& info) {
  return info.param == As::kTester ? "Tester" : "OrdinaryUser";
}
uid_t uid_of(As as) { return as == As::kOrdinaryUser && is_root() ? kNobody : static_cast<uid_t>(-1); }

class SysvSegments : public ::testing::TestWithParam<As> {
 protected:
  SysvSegments() : job_(uid_of(GetParam())) {}
  // The system keeps what a killed program leaves behind.
  ~SysvSegments() override {
    job_.end();
    for (const int id : ids()) ::shmctl(id, IPC_RMID, nullptr);
  }

  std::string report() const { return read_file(job_.path("report")); }
  std::vector<int> ids() const {
    std::vector<int> ids;
    std::istringstream words(report());
    for (std::string word; words >> word;) {
      if (int id = 0; word == "segment" && words >> id) ids.push_back(id);
    }
    return ids;
  }
  // What makes an id available again; everybody else gets an IPC namespace.
  bool chooses_ids() const { return is_root() && GetParam() == As::kTester; }

  void start(bool with_hole) {
    std::vector<std::string> command = {built_program("segments"), job_.path("report")};
    if (!with_hole) command.emplace_back("whole");
    job_.start(command);
    ASSERT_TRUE(goes_on());
  }
  void start() { start(chooses_ids()); }
  bool goes_on() {
    const size_t before = count_lines(report());
    return eventually([&] { return count_lines(report()) > before + 3 || !job_.running(); }) && job_.running();
  }
  void ends_well() {
    ASSERT_TRUE(goes_on()) << job_.said() << errors_in(job_.path("report"));
    write_file(job_.path("report.stop"), "");
    ASSERT_EQ(job_.wait(), 0) << job_.said() << errors_in(job_.path("report"));
    EXPECT_THAT(errors_in(job_.path("report")), IsEmpty());
    EXPECT_THAT(report(), HasSubstr("end\n"));
  }
  static shmatt_t attachments(int id) {
    shmid_ds state = {};
    return ::shmctl(id, IPC_STAT, &state) == 0 ? state.shm_nattch : 0;
  }
  void kill() {
    job_.kill();
    for (const int id : ids()) ASSERT_TRUE(eventually([&] { return attachments(id) == 0; }));
  }

  ProgramJob job_;
};

TEST_P(SysvSegments, AreThereInEveryLife) {
  start();
  for (int life = 1; life <= rounds(10); ++life) {
    ASSERT_TRUE(goes_on()) << job_.said() << errors_in(job_.path("report"));
    ASSERT_EQ(job_.checkpoint({"--keep", "2"}).exit_code, 0) << job_.checkpoint().output;
    kill();
    ASSERT_TRUE(job_.restart()) << job_.said();
  }
  ends_well();
}

TEST_P(SysvSegments, AreThereInAPidNamespaceToo) {
  start();
  for (int life = 1; life <= 2; ++life) {
    ASSERT_EQ(job_.checkpoint().exit_code, 0);
    kill();
    ASSERT_TRUE(job_.restart({}, {{"STILLPOINT_DISABLE", "clone3_set_tid"}})) << job_.said();
    ASSERT_TRUE(goes_on()) << job_.said() << errors_in(job_.path("report"));
  }
  ends_well();
}

TEST_P(SysvSegments, AreReadThroughTheProgramToo) {
  start();
  ASSERT_EQ(job_.checkpoint({}, {{"STILLPOINT_DISABLE", "snapshot"}}).exit_code, 0);
  kill();
  ASSERT_TRUE(job_.restart()) << job_.said();
  ends_well();
}

TEST_P(SysvSegments, ThatAreGoneAreMadeAgain) {
  start();
  ASSERT_EQ(job_.checkpoint().exit_code, 0);
  kill();
  for (const int id : ids()) ASSERT_EQ(::shmctl(id, IPC_RMID, nullptr), 0);
  if (chooses_ids()) {
    EXPECT_FALSE(job_.restart({}, {{"STILLPOINT_DISABLE", "shm_next_id"}}));
    EXPECT_THAT(job_.said(), AllOf(HasSubstr("cap_checkpoint_restore"), HasSubstr("shm_next_id")));
  }
  ASSERT_TRUE(job_.restart()) << job_.said();
  ends_well();
}

TEST_P(SysvSegments, WhosePartsTheHelperCannotSeeAreRefused) {
  if (chooses_ids()) GTEST_SKIP() << "root's helper sees all of a segment";
  start(/*with_hole=*/true);
  const Outcome outcome = job_.checkpoint();
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("SP-SYSV-SHM"), HasSubstr("mapped by no process of the image")));
  ends_well();
}

TEST_P(SysvSegments, ThatOthersHaveAttachedAreRefused) {
  start();
  void* const attached = ::shmat(ids().front(), nullptr, 0);
  ASSERT_NE(attached, reinterpret_cast<void*>(-1));
  const Outcome outcome = job_.checkpoint();
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("SP-SYSV-SHM"), HasSubstr("others use it too")));
  EXPECT_EQ(::shmdt(attached), 0);
  EXPECT_EQ(job_.checkpoint().exit_code, 0);
  ends_well();
}

TEST_P(SysvSegments, ThatAreInUseRefuseARestart) {
  if (!chooses_ids()) GTEST_SKIP() << "an ordinary user's program gets an IPC namespace of its own";
  start();
  ASSERT_EQ(job_.checkpoint().exit_code, 0);
  kill();
  void* const attached = ::shmat(ids().front(), nullptr, 0);
  ASSERT_NE(attached, reinterpret_cast<void*>(-1));
  EXPECT_FALSE(job_.restart());
  EXPECT_THAT(job_.said(), AllOf(HasSubstr("System V segment " + std::to_string(ids().front())),
                                 HasSubstr("cannot be made again"), HasSubstr("ipcrm -m")));
  EXPECT_EQ(::shmdt(attached), 0);
  ASSERT_TRUE(job_.restart()) << job_.said();
  EXPECT_THAT(job_.said(), HasSubstr("left behind by an earlier life"));
  ends_well();
}

INSTANTIATE_TEST_SUITE_P(As, SysvSegments, testing::Values(As::kTester, As::kOrdinaryUser), name_of);

}  // namespace
}  // namespace stillpoint::e2e
