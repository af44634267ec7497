// `inspect` on images whose checksums are right and whose manifest or state lies: a table, or an error that names the
// object; nothing else. The seeds are fixed, so that a failure comes again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "helper/image/manifest_file.h"
#include "tests/model/message_mutator.h"
#include "tests/tools/command_runner.h"
#include "tools/image_report.h"

namespace stillpoint::tools {
namespace {

using ::testing::HasSubstr;

constexpr int kRoundsInMemory = 1500;
constexpr int kRoundsOnDisk = 60;
// What one field of the state, two bytes at least, can become in a table or in JSON.
constexpr size_t kMaxBlowUp = 300;

std::string golden_state() { return file_contents(STILLPOINT_GOLDEN_DIRECTORY "/v1/state.pb"); }

std::string golden_manifest() {
  return file_contents(STILLPOINT_GOLDEN_DIRECTORY "/v1/manifest.pb").substr(image::kManifestHeaderSize);
}

// Publishes an image with that state; its path.
std::string publish(const std::string& directory, const std::string& state) {
  const absl::StatusOr<image::JobDirectory> job = image::JobDirectory::open(directory, true);
  EXPECT_TRUE(job.ok()) << job.status();
  absl::StatusOr<image::ImageWriter> writer = image::ImageWriter::create(*job);
  EXPECT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE(writer->write_file(image::kStateName, state).ok());
  const absl::StatusOr<std::string> name = writer->publish(image::Manifest());
  EXPECT_TRUE(name.ok()) << name.status();
  return absl::StrCat(directory, "/", *name);
}

CommandResult inspect(const std::string& image, const std::string& option) {
  return run_command_line({{STILLPOINT_COMMAND, "inspect", option, image}, {}});
}

TEST(HostileImage, IsShownWithinBounds) {
  const std::string sound = golden_state(), sound_manifest = golden_manifest();
  MessageMutator mutator(20240702);
  int shown = 0;
  for (int round = 0; round < kRoundsInMemory; ++round) {
    const std::string state = mutator.mutate(sound), manifest = mutator.mutate(sound_manifest);
    ImageContents contents;
    contents.name = "hostile";
    if (!contents.tree.ParseFromString(state) || !contents.manifest.ParseFromString(manifest)) continue;
    ++shown;
    const std::string table = image_table(contents, true), json = image_json(contents);
    ASSERT_LT(table.size() + json.size(), kMaxBlowUp * (state.size() + manifest.size())) << round;
    ASSERT_EQ(table.find('\x1b'), std::string::npos) << round;
  }
  EXPECT_GT(shown, kRoundsInMemory / 2);
}

TEST(HostileImage, OnDiskIsShownOrRefusedByName) {
  const std::string sound = golden_state();
  MessageMutator mutator(20240703);
  int shown = 0, refused = 0;
  const TemporaryDirectory directory;
  for (int round = 0; round < kRoundsOnDisk; ++round) {
    std::string state = mutator.mutate(sound);
    if (round % 4 == 0) state.resize(state.size() / 2);
    const std::string path = publish(directory.path(), state);
    const absl::StatusOr<ImageContents> contents = read_image(path);
    if (contents.ok()) {
      ++shown;
      ASSERT_THAT(image_table(*contents, true), HasSubstr("ckpt-"));
    } else {
      ++refused;
      ASSERT_TRUE(absl::IsDataLoss(contents.status())) << contents.status();
      ASSERT_THAT(std::string(contents.status().message()), HasSubstr("state.pb"));
    }
    std::filesystem::remove_all(path);
  }
  EXPECT_GT(shown, 5);
  EXPECT_GT(refused, 5);
}

TEST(HostileImage, MappingsOutOfOrderAreNamed) {
  model::Tree tree;
  ASSERT_TRUE(tree.ParseFromString(golden_state()));
  model::AddressSpace& space = *tree.mutable_address_spaces(0);
  *space.add_vmas() = space.vmas(0);
  const TemporaryDirectory directory;
  const CommandResult result = inspect(publish(directory.path(), tree.SerializeAsString()), "--vmas");
  EXPECT_EQ(result.exit_code, 3) << result.out;
  EXPECT_THAT(result.err, HasSubstr(absl::StrCat("state.pb: the mapping ", absl::Hex(space.vmas(0).start()))));
}

TEST(HostileImage, ManyMappingsAreShownInTime) {
  constexpr uint64_t kMany = 60000, kPage = 4096;
  model::Tree tree;
  ASSERT_TRUE(tree.ParseFromString(golden_state()));
  model::AddressSpace& space = *tree.mutable_address_spaces(0);
  space.clear_vmas();
  space.clear_pages();
  for (uint64_t i = 1; i <= kMany; ++i) {
    model::Vma& vma = *space.add_vmas();
    vma.set_start(2 * i * kPage);
    vma.set_end((2 * i + 1) * kPage);
    model::PageExtent& extent = *space.add_pages();
    extent.set_address(vma.start());
    extent.set_length(kPage);
  }
  const TemporaryDirectory directory;
  const CommandResult result = inspect(publish(directory.path(), tree.SerializeAsString()), "--json");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"saved_bytes\":4096"));
}

}  // namespace
}  // namespace stillpoint::tools
