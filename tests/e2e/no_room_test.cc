// Checkpoints that cannot be written: a full disk, a limit on the size of files, a directory that may no longer be
// written. The program runs on unharmed, the previous image restores, the error names the cause.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class NoRoom : public ::testing::TestWithParam<TickerJob::Kind> {
 protected:
  // The job's error text of a checkpoint that must not succeed.
  static std::string failed_checkpoint(TickerJob& job) {
    if (GetParam() == TickerJob::Kind::kSdk) {
      const std::string line = job.checkpoint_by_itself();
      EXPECT_THAT(line, StartsWith("error "));
      return line;
    }
    const Outcome outcome = job.checkpoint(job.program().pid());
    EXPECT_EQ(outcome.exit_code, 125) << outcome.output;
    return outcome.output;
  }

  void expect_unharmed(TickerJob& job) {
    ASSERT_TRUE(job.ticks_go_on()) << "the program stands still";
    EXPECT_EQ(job.finish(job.program()), 0);
    EXPECT_TRUE(job.output_is_whole()) << job.output();
    const Outcome verified = job.stillpoint({"verify", job.images()});
    EXPECT_EQ(verified.exit_code, 0) << verified.output;
    EXPECT_GT(job.restart(), 0) << job.said();
    EXPECT_EQ(job.restarter().wait(), 0) << job.said();
    EXPECT_TRUE(job.output_is_whole()) << job.output();
    EXPECT_THAT(orphans_.left_over(), IsEmpty());
  }

  OrphanWatch orphans_;
};

// Mounted over the job's image directory; lazily unmounted at the end.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path) : path_(path) {
    std::filesystem::create_directory(path);
    mounted_ = ::mount("small", path.c_str(), "tmpfs", 0, "size=24m") == 0;
    error_ = errno;
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  int error() const { return error_; }

  void fill() const { write_file(path_ + "/filler", std::string(free_bytes(), 'f')); }
  void empty() const { std::filesystem::remove(path_ + "/filler"); }

 private:
  // All but a little: enough for a manifest, not for the pages.
  size_t free_bytes() const { return std::filesystem::space(path_).available - size_t{64} * 1024; }

  std::string path_;
  bool mounted_ = false;
  int error_ = 0;
};

TEST_P(NoRoom, OnAFullDisk) {
  TickerJob job(GetParam());
  const SmallDisk disk(job.images());
  if (!disk.mounted() && disk.error() == EPERM) GTEST_SKIP() << "mounting a small tmpfs needs CAP_SYS_ADMIN";
  ASSERT_TRUE(disk.mounted()) << std::strerror(disk.error());
  job.start();
  const Outcome first = job.checkpoint(job.program().pid());
  ASSERT_EQ(first.exit_code, 0) << first.output;
  disk.fill();
  EXPECT_THAT(failed_checkpoint(job), HasSubstr("ENOSPC"));
  EXPECT_FALSE(std::filesystem::exists(job.image(2)));
  disk.empty();
  const Outcome next = job.checkpoint(job.program().pid());
  EXPECT_EQ(next.exit_code, 0) << next.output;
  expect_unharmed(job);
}

TEST_P(NoRoom, AboveTheLimitOnTheSizeOfFiles) {
  TickerJob job(GetParam());
  job.start();
  ASSERT_EQ(job.checkpoint(job.program().pid()).exit_code, 0);
  if (GetParam() == TickerJob::Kind::kSdk) {
    EXPECT_THAT(job.checkpoint_by_itself("fsize 65536"), AnyOf(HasSubstr("EFBIG"), HasSubstr("File too large")));
  } else {
    const Outcome outcome = run({"/bin/sh", "-c", "ulimit -f 64; exec \"$0\" checkpoint --pid \"$1\" \"$2\"",
                                 stillpoint_command(), std::to_string(job.program().pid()), job.images()});
    EXPECT_EQ(outcome.exit_code, 125) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("EFBIG"));
  }
  expect_unharmed(job);
}

TEST_P(NoRoom, InADirectoryThatMayNoLongerBeWritten) {
  // Root may write whatever the mode says.
  const uid_t user = is_root() ? kNobody : static_cast<uid_t>(-1);
  TickerJob job(GetParam(), user);
  job.start();
  ASSERT_EQ(job.checkpoint(job.program().pid()).exit_code, 0);
  ASSERT_EQ(::chmod(job.images().c_str(), 0500), 0);
  EXPECT_THAT(failed_checkpoint(job), HasSubstr("EACCES"));
  ASSERT_EQ(::chmod(job.images().c_str(), 0700), 0);
  expect_unharmed(job);
}

INSTANTIATE_TEST_SUITE_P(Programs, NoRoom, ::testing::Values(TickerJob::Kind::kPlain, TickerJob::Kind::kSdk),
                         [](const auto& instance) {
                           return instance.param == TickerJob::Kind::kSdk ? std::string("Sdk") : std::string("Plain");
                         });

}  // namespace
}  // namespace stillpoint::e2e
