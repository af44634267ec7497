#include "helper/resources/sysv_segment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cstring>

#include "tests/resources/round_trip.h"
#include "tests/resources/temporary_directory.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr size_t kSize = 5000;

class SysvSegmentTest : public testing::Test {
 protected:
  void SetUp() override {
    id_ = ::shmget(IPC_PRIVATE, kSize, IPC_CREAT | 0600);
    if (id_ < 0) GTEST_SKIP() << "no System V shared memory: " << std::strerror(errno);
    at_ = ::shmat(id_, nullptr, 0);
    ASSERT_NE(at_, reinterpret_cast<void*>(-1));
  }
  ~SysvSegmentTest() override {
    if (at_ != nullptr) ::shmdt(at_);
    if (id_ >= 0) ::shmctl(id_, IPC_RMID, nullptr);
  }
  procfs::Mapping mapping() const {
    for (const procfs::Mapping& mapping : procfs::read_maps(::getpid()).value_or(std::vector<procfs::Mapping>())) {
      if (mapping.start == reinterpret_cast<uint64_t>(at_)) return mapping;
    }
    ADD_FAILURE() << "not attached";
    return {};
  }
  std::vector<std::string> audit(uint64_t attachments, model::SharedMemory& memory) const {
    Findings findings;
    audit_sysv_segment(procfs::read_sysv_segments().value_or(std::vector<procfs::SysvSegment>()), mapping(),
                       attachments, memory, findings);
    return codes(findings);
  }
  // A tree of one process, the test's.
  static model::Tree tree() {
    model::Tree tree;
    tree.add_processes()->add_threads()->mutable_credentials()->set_euid(::geteuid());
    return tree;
  }

  int id_ = -1;
  void* at_ = nullptr;
};

TEST_F(SysvSegmentTest, IsKnownByItsFilesystemAndNotByItsNameAlone) {
  procfs::Mapping attached = mapping();
  EXPECT_TRUE(is_sysv_segment(attached));
  EXPECT_EQ(attached.inode, static_cast<uint64_t>(id_));
  attached.device += 1;
  EXPECT_FALSE(is_sysv_segment(attached));
}

TEST_F(SysvSegmentTest, IsDescribed) {
  model::SharedMemory memory;
  EXPECT_THAT(audit(1, memory), IsEmpty());
  EXPECT_EQ(memory.size(), 8192u);
  EXPECT_EQ(memory.sysv().id(), id_);
  EXPECT_EQ(memory.sysv().size(), kSize);
  EXPECT_EQ(memory.sysv().mode(), 0600u);
  EXPECT_EQ(memory.sysv().uid(), ::geteuid());
  EXPECT_FALSE(memory.sysv().removed());
  ASSERT_EQ(::shmctl(id_, IPC_RMID, nullptr), 0);
  EXPECT_THAT(audit(1, memory), IsEmpty());
  EXPECT_TRUE(memory.sysv().removed());
}

TEST_F(SysvSegmentTest, OfOthersIsAFinding) {
  model::SharedMemory memory;
  void* const again = ::shmat(id_, nullptr, SHM_RDONLY);
  EXPECT_THAT(audit(1, memory), ElementsAre("SP-SYSV-SHM"));
  EXPECT_THAT(audit(2, memory), IsEmpty());
  ::shmdt(again);
}

TEST_F(SysvSegmentTest, ThatIsNotListedIsAFinding) {
  model::SharedMemory memory;
  Findings findings;
  audit_sysv_segment({}, mapping(), 1, memory, findings);
  EXPECT_THAT(codes(findings), ElementsAre("SP-SYSV-SHM"));
}

TEST_F(SysvSegmentTest, InUseIsNotTakenOver) {
  model::SharedMemory memory;
  audit(1, memory);
  std::vector<std::string> notes;
  const absl::Status refused = SysvSegments().create(tree(), memory, 0, notes);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("attached 1 times"));
  EXPECT_THAT(notes, IsEmpty());
}

TEST_F(SysvSegmentTest, LeftBehindIsTakenOverAndCleared) {
  model::SharedMemory memory;
  audit(1, memory);
  std::memset(at_, 'x', kSize);
  ASSERT_EQ(::shmdt(at_), 0);
  std::vector<std::string> notes;
  {
    SysvSegments segments;
    const absl::Status taken = segments.create(tree(), memory, reinterpret_cast<uint64_t>(at_), notes);
    ASSERT_TRUE(taken.ok()) << taken;
    EXPECT_EQ(std::string(static_cast<char*>(at_), kSize), std::string(kSize, '\0'));
    EXPECT_TRUE(segments.finish(memory).ok());
  }
  EXPECT_THAT(notes, ElementsAre(HasSubstr("left behind")));
  shmid_ds state = {};
  EXPECT_EQ(::shmctl(id_, IPC_STAT, &state), 0) << "what was not made is not removed";
}

TEST_F(SysvSegmentTest, OfAStrangerIsNotGivenAway) {
  model::SharedMemory memory;
  audit(1, memory);
  ASSERT_EQ(::shmdt(at_), 0);
  at_ = nullptr;
  memory.mutable_sysv()->set_uid(4711), memory.mutable_sysv()->set_creator_uid(4711);
  model::Tree of_somebody = tree();
  of_somebody.mutable_processes(0)->mutable_threads(0)->mutable_credentials()->set_euid(4712);
  std::vector<std::string> notes;
  EXPECT_TRUE(absl::IsPermissionDenied(SysvSegments().create(of_somebody, memory, 0, notes)));
}

TEST_F(SysvSegmentTest, ThatIsGoneIsMadeAgainAndGoesWithAFailedRestore) {
  model::SharedMemory memory;
  audit(1, memory);
  ASSERT_EQ(::shmdt(at_), 0);
  ASSERT_EQ(::shmctl(id_, IPC_RMID, nullptr), 0);
  std::vector<std::string> notes;
  {
    SysvSegments segments;
    const absl::Status made = segments.create(tree(), memory, reinterpret_cast<uint64_t>(at_), notes);
    if (absl::IsPermissionDenied(made)) GTEST_SKIP() << made;
    ASSERT_TRUE(made.ok()) << made;
    std::strcpy(static_cast<char*>(at_), "there");
    shmid_ds state = {};
    EXPECT_EQ(::shmctl(id_, IPC_STAT, &state), 0);
    EXPECT_EQ(state.shm_segsz, kSize);
    ASSERT_EQ(::shmdt(at_), 0);
    at_ = nullptr;
  }
  shmid_ds state = {};
  EXPECT_NE(::shmctl(id_, IPC_STAT, &state), 0);
  id_ = -1;
}

}  // namespace
}  // namespace stillpoint
