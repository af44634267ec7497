// SIGKILL at every stage of a checkpoint: what was published before is whole, and the next checkpoint cleans up.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "helper/image/owner.h"
#include "tests/image/image_fixture.h"

namespace stillpoint::image {
namespace {

// A checkpoint as the dump makes one.
absl::Status checkpoint(const JobDirectory& job, const UniqueFd& library) {
  absl::Status status = job.remove_leftovers();
  if (!status.ok()) return status;
  absl::StatusOr<ImageWriter> writer = ImageWriter::create(job);
  if (!writer.ok()) return writer.status();
  status = fill_sample(*writer, 9000 + writer->sequence());
  if (!status.ok()) return status;
  Manifest manifest;
  absl::StatusOr<FileEntry> stored = job.store_file("abcdef", library.get());
  if (!stored.ok()) return stored.status();
  *manifest.add_stored_files() = *std::move(stored);
  const Publisher publisher = {"node17", "b007", {}, {{500, 1}}};
  const ProcessQuestions questions = {[](const LifeProcess& a, const LifeProcess& b) { return a.pid == b.pid; },
                                      [](const LifeProcess&) { return false; }};
  status = writer->publish(manifest, [&] { return admit_publisher(job, publisher, questions).status(); }).status();
  return status.ok() ? job.prune(2) : status;
}

class Crash : public ImageTest, public testing::WithParamInterface<const char*> {};

TEST_P(Crash, LeavesWholeImagesOnly) {
#ifndef STILLPOINT_TEST_SWITCHES
  GTEST_SKIP() << "needs a build with STILLPOINT_TEST_SWITCHES";
#endif
  const JobDirectory directory = job();
  for (uint64_t before : {0, 3}) {
    for (uint64_t i = 0; i < before; ++i) {
      const absl::Status status = checkpoint(directory, source("library"));
      ASSERT_TRUE(status.ok()) << status;
    }
    const std::optional<uint64_t> previous = directory.latest().value();
    // Another content under the same build-id, so that something is stored each time.
    const UniqueFd library = source(before == 0 ? "library of the first life" : "another library");
    const int status = wait_for(fork_child([&] {
      ::setenv("STILLPOINT_DIE_AT", GetParam(), 1);
      return checkpoint(directory, library).ok() ? 0 : 1;
    }));
    const bool reached = WIFSIGNALED(status);
    // With fewer images than it keeps, prune deletes nothing.
    const bool prunes = std::string(GetParam()) == "image_prune_renamed";
    ASSERT_TRUE(reached || (prunes && before == 0)) << "stage not reached, status " << status;
    if (reached) {
      EXPECT_EQ(WTERMSIG(status), SIGKILL);
    }

    const absl::StatusOr<std::vector<uint64_t>> sequences = directory.sequences();
    ASSERT_TRUE(sequences.ok());
    for (const uint64_t sequence : *sequences) EXPECT_EQ(all_messages(verify_image(path(image_name(sequence)))), "");
    const std::optional<uint64_t> latest = directory.latest().value();
    EXPECT_GE(latest.value_or(0), previous.value_or(0));
    if (!sequences->empty()) {
      EXPECT_TRUE(verification(path()).ok()) << verification(path());
    }

    const absl::Status next = checkpoint(directory, library);
    ASSERT_TRUE(next.ok()) << next;
    EXPECT_TRUE(leftovers().empty());
    EXPECT_GT(directory.latest().value().value_or(0), latest.value_or(0));
    EXPECT_TRUE(verification(path()).ok()) << verification(path());
  }
}

INSTANTIATE_TEST_SUITE_P(Stages, Crash,
                         testing::Values("image_created", "image_store_copying", "image_store_copied",
                                         "image_files_written", "image_files_synced", "image_manifest_written",
                                         "image_durable", "image_latest_prepared", "image_renamed", "image_published",
                                         "image_latest_renamed", "image_prune_renamed"),
                         [](const auto& stage) { return std::string(stage.param); });

}  // namespace
}  // namespace stillpoint::image
