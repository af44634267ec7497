// Filesystems that do not take what is written: the error names file and remedy, and the previous image stays.
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/image/image_fixture.h"

namespace stillpoint::image {
namespace {

using testing::HasSubstr;

class FullDisk : public ImageTest {};

// What writing an image of `size` bytes ends with, destructors included.
std::string attempt(const JobDirectory& directory, size_t size) {
  absl::StatusOr<ImageWriter> writer = ImageWriter::create(directory);
  if (!writer.ok()) return writer.status().ToString();
  const absl::Status status = writer->write_file("pages-0.bin", noise(size, 3));
  if (!status.ok()) return status.ToString();
  return writer->publish({}).status().ToString();
}

TEST_F(FullDisk, NoSpaceLeft) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting a small tmpfs needs root";
  job();
  const std::string text = in_child([&]() -> std::string {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      return absl::StrCat("SKIP: a mount namespace of its own: ", strerrorname_np(errno));
    }
    if (::mount("stillpoint-test", path().c_str(), "tmpfs", 0, "size=1m,mode=700") != 0) {
      return absl::StrCat("SKIP: mount of a tmpfs: ", strerrorname_np(errno));
    }
    publish_sample(job(), 1, 10000);
    std::string result = attempt(job(), 3 << 20);
    const absl::Status stored = job().store_file("abcdef", source(noise(3 << 20, 4)).get()).status();
    absl::StrAppend(&result, "\nstored: ", stored.ToString(), "\nleft: ", leftovers().size(),
                    "\nprevious: ", verification(path()).ToString(), "\nagain: ", attempt(job(), 1000));
    return result;
  });
  if (absl::StartsWith(text, "SKIP: ")) GTEST_SKIP() << text.substr(6);
  EXPECT_THAT(text, HasSubstr("pages-0.bin: ENOSPC"));
  EXPECT_THAT(text, HasSubstr("free space"));
  EXPECT_THAT(text, HasSubstr("stored: RESOURCE_EXHAUSTED: write " + path("files/abcdef") + ": ENOSPC"));
  EXPECT_THAT(text, HasSubstr("left: 0\nprevious: OK\nagain: OK"));
}

TEST_F(FullDisk, FileSizeLimit) {
  publish_sample(job(), 1, 10000);
  const std::string text = in_child([&]() -> std::string {
    const rlimit limit = {1 << 20, 1 << 20};
    ::signal(SIGXFSZ, SIG_IGN);
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return "setrlimit";
    return attempt(job(), 3 << 20);
  });
  EXPECT_THAT(text, HasSubstr("pages-0.bin: EFBIG"));
  EXPECT_THAT(text, HasSubstr("ulimit -f"));
  EXPECT_TRUE(leftovers().empty());
  EXPECT_EQ(job().latest().value(), 1u);
  EXPECT_TRUE(verification(path()).ok());
}

TEST_F(FullDisk, NoWritePermission) {
  publish_sample(job(), 1, 10000);
  const JobDirectory directory = job();
  ASSERT_EQ(::chmod(path().c_str(), 0555), 0);
  const std::string text = in_child([&]() -> std::string {
    if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return "setresuid";
    return attempt(directory, 1000);
  });
  ASSERT_EQ(::chmod(path().c_str(), 0700), 0);
  EXPECT_THAT(text, HasSubstr("EACCES"));
  EXPECT_THAT(text, HasSubstr(path()));
  EXPECT_THAT(text, HasSubstr("(mode 0555): "));
  EXPECT_TRUE(verification(path()).ok());
}

TEST_F(FullDisk, ReadOnlyFilesystem) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting read-only needs root";
  publish_sample(job(), 1, 10000);
  const std::string text = in_child([&]() -> std::string {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount(path().c_str(), path().c_str(), nullptr, MS_BIND, nullptr) != 0 ||
        ::mount("none", path().c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0) {
      return absl::StrCat("SKIP: a read-only bind mount: ", strerrorname_np(errno));
    }
    return absl::StrCat(attempt(job(), 1000), " previous: ", verification(path()).ToString());
  });
  if (absl::StartsWith(text, "SKIP: ")) GTEST_SKIP() << text.substr(6);
  EXPECT_THAT(text, HasSubstr("EROFS"));
  EXPECT_THAT(text, HasSubstr("remount"));
  EXPECT_THAT(text, HasSubstr("previous: OK"));
}

}  // namespace
}  // namespace stillpoint::image
