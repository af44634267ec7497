#include "helper/dump/open_files_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <vector>

#include "helper/base/syscalls.h"
#include "helper/dump/description_index.h"

namespace stillpoint {
namespace {

constexpr size_t kFiles = 300;

// Files that agree in everything /proc shows but what they are: every third has a duplicate.
class ManyFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    for (size_t i = 0; i < kFiles; ++i) {
      originals_.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      ASSERT_TRUE(originals_.back().valid());
      if (i % 3 != 0) continue;
      duplicates_.emplace_back(::fcntl(originals_.back().get(), F_DUPFD_CLOEXEC, 0));
      ASSERT_TRUE(duplicates_.back().valid());
    }
  }
  void expect_told_apart() {
    SharedMemoryRegistry shared;
    OpenFilesReader reader(shared);
    ASSERT_TRUE(reader.scan(::getpid(), ::getpid(), {}, 1).ok());
    std::set<uint64_t> ids;
    for (const UniqueFd& fd : originals_) ids.insert(reader.open_file_of(::getpid(), fd.get()));
    EXPECT_EQ(ids.size(), kFiles);
    EXPECT_FALSE(ids.contains(0));
    for (size_t i = 0; i < duplicates_.size(); ++i) {
      EXPECT_EQ(reader.open_file_of(::getpid(), duplicates_[i].get()),
                reader.open_file_of(::getpid(), originals_[3 * i].get()));
    }
  }

  std::vector<UniqueFd> originals_, duplicates_;
};

TEST_F(ManyFiles, DuplicatesAreFound) { expect_told_apart(); }

TEST_F(ManyFiles, AreNotComparedEachWithEach) {
  if (sys_kcmp(::getpid(), ::getpid(), KCMP_FILE, 0, 0) != 0) GTEST_SKIP() << "the kernel has no kcmp(2)";
  std::vector<OpenFileView> views;
  DescriptionIndex index;
  const auto view_of = [&](size_t number) -> const OpenFileView& { return views[number]; };
  const auto enter = [&](int fd) {
    OpenFileView view;
    view.pid = ::getpid();
    view.number = fd;
    view.fd = fd;
    ASSERT_EQ(::fstat(fd, &view.stat), 0);
    if (index.find_or_enter(view, views.size(), view_of) == views.size()) views.push_back(view);
  };
  for (const UniqueFd& fd : originals_) enter(fd.get());
  for (const UniqueFd& fd : duplicates_) enter(fd.get());
  EXPECT_EQ(views.size(), kFiles);
  EXPECT_LT(index.comparisons(), 16 * kFiles);
}

}  // namespace
}  // namespace stillpoint
