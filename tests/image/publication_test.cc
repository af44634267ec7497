#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "helper/image/files.h"
#include "tests/image/image_fixture.h"

namespace stillpoint::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Publication : public ImageTest {};

TEST_F(Publication, NothingShowsBeforeAndNothingStaysWithoutIt) {
  {
    absl::StatusOr<ImageWriter> writer = ImageWriter::create(job(), 1);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE(fill_sample(*writer, 5000).ok());
    EXPECT_TRUE(job().sequences().value().empty());
    EXPECT_EQ(leftovers().size(), 1u);
    ImageWriter moved = *std::move(writer);
    EXPECT_EQ(moved.sequence(), 1u);
  }
  EXPECT_TRUE(leftovers().empty());
  EXPECT_TRUE(std::filesystem::is_empty(path()));
}

TEST_F(Publication, AFailingLastCheckStopsIt) {
  publish_sample(job(), 1);
  absl::StatusOr<ImageWriter> writer = ImageWriter::create(job(), 2);
  ASSERT_TRUE(fill_sample(*writer, 5000).ok());
  const absl::StatusOr<std::string> name = writer->publish({}, [] { return absl::AbortedError("owner changed"); });
  EXPECT_EQ(name.status().message(), "owner changed");
  EXPECT_THAT(job().sequences().value(), ElementsAre(1));
  EXPECT_EQ(job().latest().value(), 1u);
  EXPECT_TRUE(leftovers().empty());
  EXPECT_FALSE(writer->publish({}).ok());
}

TEST_F(Publication, WhatReadersWouldRefuseIsNotPublished) {
  const auto attempt = [&](const std::function<absl::Status(ImageWriter&, Manifest&)>& spoil) {
    absl::StatusOr<ImageWriter> writer = ImageWriter::create(job());
    EXPECT_TRUE(fill_sample(*writer, 5000).ok());
    Manifest manifest;
    absl::Status status = spoil(*writer, manifest);
    if (status.ok()) status = writer->publish(manifest).status();
    EXPECT_TRUE(job().sequences().value().empty());
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  };
  EXPECT_THAT(attempt([](ImageWriter& w, Manifest&) { return w.create_file("x").status(); }),
              HasSubstr("without checksums"));
  EXPECT_THAT(attempt([](ImageWriter& w, Manifest&) {
                w.add_file("y", 0, {});
                return absl::OkStatus();
              }),
              HasSubstr("checksums of no file"));
  EXPECT_THAT(attempt([](ImageWriter& w, Manifest&) {
                const absl::Status status = w.create_file("z").status();
                w.add_file("z", 17, {1});
                return status;
              }),
              HasSubstr("instead of 17"));
  EXPECT_THAT(attempt([](ImageWriter& w, Manifest&) { return w.create_file("state.pb").status(); }),
              HasSubstr("EEXIST"));
  EXPECT_THAT(attempt([](ImageWriter& w, Manifest&) { return w.create_file("../x").status(); }),
              HasSubstr("not a name"));
  EXPECT_THAT(attempt([](ImageWriter& w, Manifest&) { return w.create_file("manifest.pb").status(); }),
              HasSubstr("not a name"));
  EXPECT_THAT(attempt([](ImageWriter&, Manifest& m) {
                m.add_stored_files()->set_name("abcdef");
                return absl::OkStatus();
              }),
              HasSubstr("files"));
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(Publication, NumbersAreNotUsedTwice) {
  publish_sample(job(), 7);
  EXPECT_TRUE(absl::IsAlreadyExists(ImageWriter::create(job(), 7).status()));
  EXPECT_EQ(job().next_sequence().value(), 8u);
  {
    const absl::StatusOr<ImageWriter> writer = ImageWriter::create(job(), 8);
    ASSERT_TRUE(writer.ok());
    EXPECT_TRUE(absl::IsAlreadyExists(ImageWriter::create(job(), 8).status()));
    EXPECT_EQ(job().next_sequence().value(), 9u);
    EXPECT_EQ(ImageWriter::create(job()).value().sequence(), 9u);
  }
  ASSERT_EQ(::mkdir(path(".tmp-00000030-0123456789abcdef").c_str(), 0700), 0);
  EXPECT_EQ(job().next_sequence().value(), 31u);
  ASSERT_EQ(::unlink(path("latest").c_str()), 0);
  ASSERT_EQ(::symlink("ckpt-00000050", path("latest").c_str()), 0);
  EXPECT_EQ(job().next_sequence().value(), 51u);
  write_file_at(path("ckpt-00000060"), "not a directory");
  EXPECT_EQ(job().next_sequence().value(), 61u);
  EXPECT_THAT(job().sequences().value(), ElementsAre(7));
  EXPECT_FALSE(ImageWriter::create(job(), 60).ok());
  ASSERT_EQ(::mkdir(path("ckpt-18446744073709551615").c_str(), 0700), 0);
  EXPECT_FALSE(job().next_sequence().ok());
  EXPECT_FALSE(ImageWriter::create(job(), 0).ok());
}

TEST_F(Publication, LatestNeverGoesBack) {
  absl::StatusOr<ImageWriter> slow = ImageWriter::create(job(), 1);
  ASSERT_TRUE(fill_sample(*slow, 100).ok());
  publish_sample(job(), 2);
  ASSERT_TRUE(slow->publish({}).ok());
  EXPECT_EQ(job().latest().value(), 2u);
  EXPECT_THAT(job().sequences().value(), ElementsAre(1, 2));
}

TEST_F(Publication, AnImageThatAppearedMeanwhileIsNotReplaced) {
  for (const char* disabled : {"", "renameat2"}) {
    const std::string text = in_child([&] {
      ::setenv("STILLPOINT_DISABLE", disabled, 1);
      absl::StatusOr<ImageWriter> writer = ImageWriter::create(job(), 5);
      if (!fill_sample(*writer, 100).ok()) return std::string("cannot write");
      std::filesystem::create_directory(path("ckpt-00000005"));
      write_file_at(path("ckpt-00000005/theirs"), "theirs");
      return std::string(writer->publish({}).status().message());
    });
    EXPECT_THAT(text, HasSubstr("published by another process meanwhile")) << disabled;
    EXPECT_EQ(read_file_at(path("ckpt-00000005/theirs")), "theirs");
    EXPECT_TRUE(leftovers().empty());
    std::filesystem::remove_all(path("ckpt-00000005"));
  }
}

TEST_F(Publication, ConcurrentProcessesPublishDifferentImages) {
  constexpr int kProcesses = 5;
  constexpr int kEach = 4;
  job();
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; ++i) {
    children.push_back(fork_child([&] {
      for (int n = 0; n < kEach; ++n) {
        const JobDirectory directory = job();
        if (!directory.remove_leftovers().ok()) return 1;
        absl::StatusOr<ImageWriter> writer = ImageWriter::create(directory);
        if (!writer.ok() || !fill_sample(*writer, 20000).ok()) return 2;
        Manifest manifest;
        absl::StatusOr<FileEntry> stored = directory.store_file("abcdef", source(noise(70000, 9)).get());
        if (!stored.ok()) return 3;
        *manifest.add_stored_files() = *std::move(stored);
        if (!writer->publish(manifest).ok()) return 4;
        if (!directory.prune(100).ok()) return 5;
      }
      return 0;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  const std::vector<uint64_t> sequences = job().sequences().value();
  EXPECT_EQ(sequences.size(), static_cast<size_t>(kProcesses * kEach));
  for (const uint64_t sequence : sequences) EXPECT_EQ(all_messages(verify_image(path(image_name(sequence)))), "");
  EXPECT_EQ(job().latest().value(), sequences.back());
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(Publication, OfTwoProcessesWithOneNumberOneWins) {
  for (uint64_t sequence = 1; sequence <= 5; ++sequence) {
    std::vector<pid_t> children;
    for (int i = 0; i < 3; ++i) {
      children.push_back(fork_child([&] {
        absl::StatusOr<ImageWriter> writer = ImageWriter::create(job(), sequence);
        if (!writer.ok()) return absl::IsAlreadyExists(writer.status()) ? 1 : 2;
        if (!fill_sample(*writer, 3000).ok()) return 2;
        return writer->publish({}).ok() ? 0 : 2;
      }));
    }
    int published = 0;
    for (const pid_t child : children) {
      const int status = wait_for(child);
      ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) < 2) << status;
      published += WEXITSTATUS(status) == 0 ? 1 : 0;
    }
    EXPECT_EQ(published, 1);
    EXPECT_TRUE(verification(path()).ok());
  }
}

TEST_F(Publication, LeftoversOfTheDeadGoAndThoseOfTheLivingStay) {
  const absl::StatusOr<ImageWriter> living = ImageWriter::create(job(), 1);
  ASSERT_TRUE(living.ok());
  ASSERT_EQ(::mkdir(path(".tmp-00000002-0000000000000000").c_str(), 0700), 0);
  write_file_at(path(".tmp-00000002-0000000000000000/pages-0.bin"), "x");
  ASSERT_EQ(::symlink("ckpt-00000001", path(".tmp-latest-0000000000000000").c_str()), 0);
  ASSERT_EQ(::mkfifo(path(".tmp-odd").c_str(), 0600), 0);
  ASSERT_EQ(::mkdir(path("files").c_str(), 0700), 0);
  write_file_at(path("files/.tmp-file-0000000000000000"), "x");
  write_file_at(path("notes.txt"), "the user's");
  EXPECT_EQ(leftovers().size(), 5u);
  EXPECT_TRUE(job().remove_leftovers().ok());
  EXPECT_EQ(leftovers().size(), 1u);
  EXPECT_TRUE(std::filesystem::exists(path("notes.txt")));
}

TEST_F(Publication, LinksBelowTheDirectoryAreNotFollowed) {
  ASSERT_EQ(::mkdir((root() + "/outside").c_str(), 0700), 0);
  write_file_at(root() + "/outside/.tmp-precious", "x");
  job();
  ASSERT_EQ(::symlink((root() + "/outside").c_str(), path("files").c_str()), 0);
  EXPECT_FALSE(job().remove_leftovers().ok());
  EXPECT_FALSE(job().store_file("ab", source("x").get()).ok());
  EXPECT_TRUE(std::filesystem::exists(root() + "/outside/.tmp-precious"));
  ASSERT_EQ(::symlink((root() + "/outside").c_str(), path(".tmp-00000001-0").c_str()), 0);
  EXPECT_FALSE(job().remove_leftovers().ok());
  EXPECT_FALSE(std::filesystem::exists(path(".tmp-00000001-0")));  // the link went, not what it named
  EXPECT_TRUE(std::filesystem::exists(root() + "/outside/.tmp-precious"));
}

}  // namespace
}  // namespace stillpoint::image
