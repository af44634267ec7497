// Images of released formats must parse for ever. golden/vN holds manifest and state of a checkpointed /usr/bin/sleep
// as format N wrote them.
#include <fcntl.h>

#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "helper/image/image_layout.h"
#include "helper/model/ids.h"
#include "helper/restore/validate.h"

namespace stillpoint {
namespace {

std::string golden_file(const std::string& name) {
  std::ifstream file(std::string(STILLPOINT_GOLDEN_DIRECTORY) + "/v1/" + name, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

TEST(GoldenImage, FormatOneParsesAndIsSound) {
  const UniqueFd directory(::open((std::string(STILLPOINT_GOLDEN_DIRECTORY) + "/v1").c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_TRUE(directory.valid());
  const absl::StatusOr<image::Manifest> manifest = image::read_manifest(directory.get(), "golden/v1");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->format_version(), 1u);
  EXPECT_EQ(manifest->program(), "/usr/bin/sleep 1000");

  model::Tree tree;
  ASSERT_TRUE(tree.ParseFromString(golden_file("state.pb")));
  EXPECT_TRUE(validate(tree, *manifest).ok()) << validate(tree, *manifest);
  ASSERT_EQ(tree.processes_size(), 1);
  EXPECT_EQ(tree.processes(0).pid(), manifest->root_pid());
  EXPECT_EQ(tree.processes(0).threads(0).name(), "sleep");
  const model::AddressSpace* space = model::find_address_space(tree, tree.processes(0).address_space());
  ASSERT_NE(space, nullptr);
  EXPECT_EQ(model::find_mapped_file(tree, space->executable())->path(), "/usr/bin/sleep");
  EXPECT_EQ(space->vdso().content().size(), 8192u);
  const model::FileTable* table = model::find_file_table(tree, tree.processes(0).file_table());
  ASSERT_EQ(table->descriptors_size(), 3);
  EXPECT_EQ(model::find_open_file(tree, table->descriptors(0).open_file())->kind(), "device");
}

}  // namespace
}  // namespace stillpoint
