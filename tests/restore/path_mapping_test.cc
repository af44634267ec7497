#include "gtest/gtest.h"
#include "helper/restore/open_files_restorer.h"

namespace stillpoint {
namespace {

using Mappings = std::vector<std::pair<std::string, std::string>>;

TEST(PathMapping, ReplacesWholeComponentsOnly) {
  const Mappings mappings = {{"/data", "/mnt/data"}};
  EXPECT_EQ(apply_path_mappings("/data/run.log", mappings), "/mnt/data/run.log");
  EXPECT_EQ(apply_path_mappings("/data", mappings), "/mnt/data");
  EXPECT_EQ(apply_path_mappings("/database/run.log", mappings), "/database/run.log");
  EXPECT_EQ(apply_path_mappings("/other/data/x", mappings), "/other/data/x");
}

TEST(PathMapping, TheLongestWins) {
  const Mappings mappings = {{"/data", "/a"}, {"/data/deep/", "/b/"}};
  EXPECT_EQ(apply_path_mappings("/data/deep/x", mappings), "/b/x");
  EXPECT_EQ(apply_path_mappings("/data/x", mappings), "/a/x");
}

}  // namespace
}  // namespace stillpoint
