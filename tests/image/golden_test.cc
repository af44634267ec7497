// Images written by earlier releases must be read by every later one.
#include "gmock/gmock.h"
#include "helper/base/syscalls.h"
#include "tests/image/image_fixture.h"

namespace stillpoint::image {
namespace {

using testing::ElementsAre;

constexpr char kStoredName[] = "0123456789abcdef0123456789abcdef01234567";

TEST(GoldenImage, VersionOneIsRead) {
  const absl::StatusOr<ImageReader> reader = ImageReader::open(GOLDEN_IMAGES "/v1/ckpt-00000001");
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(all_messages(reader->verify()), "");
  EXPECT_EQ(reader->read_file(kStateName).value(), "golden state\n");
  EXPECT_EQ(reader->read_file("pages-0.bin").value(), std::string(4096, 'P'));
  const absl::StatusOr<UniqueFd> library = reader->open_stored_file(kStoredName);
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_EQ(read_whole(library->get(), "library").value(), "library\n");
  const Manifest& manifest = reader->manifest();
  EXPECT_EQ(manifest.format_version(), 1u);
  EXPECT_EQ(manifest.sequence(), 1u);
  EXPECT_EQ(manifest.created_ns(), 1'700'000'000'000'000'000);
  EXPECT_EQ(manifest.stillpoint_version(), "0.1.0");
  EXPECT_EQ(manifest.kernel(), "6.18.0");
  EXPECT_EQ(manifest.host(), "node17");
  EXPECT_EQ(manifest.boot_id(), "00000000-1111-2222-3333-444444444444");
  EXPECT_THAT(manifest.cpu_features(), ElementsAre("fpu", "avx2"));
  EXPECT_EQ(manifest.program(), "./solver input.nml");
  EXPECT_EQ(manifest.process_count(), 1u);
  EXPECT_EQ(manifest.thread_count(), 4u);
  EXPECT_EQ(manifest.root_pid(), 4242);
  EXPECT_EQ(manifest.job_id(), "17");
  EXPECT_EQ(manifest.epoch(), 3u);
  EXPECT_EQ(manifest.xsave_features(), 7u);
}

}  // namespace
}  // namespace stillpoint::image
