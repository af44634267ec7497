#include "helper/memory/available_memory.h"

#include <gtest/gtest.h>
#include <sys/sysinfo.h>

#include <filesystem>
#include <fstream>

namespace stillpoint {
namespace {

class CgroupRoom : public testing::Test {
 protected:
  CgroupRoom() {
    std::string path = testing::TempDir() + "cgroup-XXXXXX";
    directory_ = ::mkdtemp(path.data());
  }
  ~CgroupRoom() override { std::filesystem::remove_all(directory_); }
  void put(const std::string& name, const std::string& text) { std::ofstream(directory_ + "/" + name) << text; }
  std::string directory_;
};

TEST_F(CgroupRoom, OfVersion2) {
  put("memory.max", "1000000\n");
  put("memory.current", "700000\n");
  EXPECT_EQ(cgroup_room(directory_), 300000u);
  put("memory.stat", "anon 5\ninactive_file 200000\n");
  EXPECT_EQ(cgroup_room(directory_), 500000u);
}

TEST_F(CgroupRoom, OfVersion1) {
  put("memory.limit_in_bytes", "1000000\n");
  put("memory.usage_in_bytes", "900000\n");
  put("memory.stat", "inactive_file 1\ntotal_inactive_file 50000\n");
  EXPECT_EQ(cgroup_room(directory_), 150000u);
}

TEST_F(CgroupRoom, NoneIsLeftWhenTheLimitIsPassed) {
  put("memory.max", "1000\n");
  put("memory.current", "2000\n");
  EXPECT_EQ(cgroup_room(directory_), 0u);
}

TEST_F(CgroupRoom, WithoutALimitThereIsNoEnd) {
  EXPECT_EQ(cgroup_room(directory_), kNoLimit);
  put("memory.max", "max\n");
  put("memory.current", "2000\n");
  EXPECT_EQ(cgroup_room(directory_), kNoLimit);
}

TEST(AvailableMemory, IsLessThanTheMachineHas) {
  struct sysinfo info {};
  ASSERT_EQ(::sysinfo(&info), 0);
  EXPECT_GT(available_memory(), 0u);
  EXPECT_LE(available_memory(), uint64_t{info.totalram} * info.mem_unit);
}

}  // namespace
}  // namespace stillpoint
