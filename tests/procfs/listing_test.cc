#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "helper/base/unique_fd.h"
#include "helper/procfs/process_files.h"
#include "tests/procfs/waiting_child.h"

namespace stillpoint::procfs {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAre;

TEST(Listing, DescriptorsOfAChild) {
  const WaitingChild child([] {
    const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    return ::dup2(null.get(), 1000) == 1000 && ::dup2(null.get(), 240) == 240 && ::dup2(null.get(), 241) == 241 &&
           ::close(241) == 0;
  });
  ASSERT_TRUE(child.ready());
  const auto fds = read_fds(child.pid());
  ASSERT_TRUE(fds.ok()) << fds.status();
  EXPECT_TRUE(std::is_sorted(fds->begin(), fds->end()));  // by number, not by text
  EXPECT_THAT(*fds, Contains(240));
  EXPECT_THAT(*fds, Contains(1000));
  EXPECT_THAT(*fds, Not(Contains(241)));
}

TEST(Listing, ThreadsAscend) {
  std::mutex gate;
  gate.lock();
  std::vector<std::thread> threads;
  for (int i = 0; i < 5; ++i) threads.emplace_back([&] { const std::lock_guard<std::mutex> wait(gate); });
  const auto tids = read_tids(::getpid());
  gate.unlock();
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(tids.ok()) << tids.status();
  EXPECT_GE(tids->size(), 6u);  // a sanitizer may have a thread of its own
  EXPECT_TRUE(std::is_sorted(tids->begin(), tids->end()));
  EXPECT_THAT(*tids, Contains(::gettid()));
}

TEST(Listing, ChildrenOfEveryThread) {
  const WaitingChild first([] { return true; });
  std::mutex gate;
  gate.lock();
  pid_t of_thread = -1;
  std::mutex forked;
  forked.lock();
  std::thread thread([&] {
    const WaitingChild second([] { return true; });
    of_thread = second.ready() ? second.pid() : -1;
    forked.unlock();
    const std::lock_guard<std::mutex> wait(gate);
  });
  forked.lock();
  const auto children = read_children(::getpid());
  gate.unlock();
  thread.join();
  ASSERT_GT(of_thread, 0);
  ASSERT_TRUE(children.ok()) << children.status();
  EXPECT_THAT(*children, UnorderedElementsAre(first.pid(), of_thread));
}

TEST(Listing, NoChildren) {
  const WaitingChild child([] { return true; });
  const auto children = read_children(child.pid());
  ASSERT_TRUE(children.ok()) << children.status();
  EXPECT_TRUE(children->empty());
}

TEST(Listing, GoneProcessIsNotFound) {
  WaitingChild child([] { return true; });
  const pid_t pid = child.pid();
  child.kill();
  EXPECT_EQ(read_tids(pid).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(read_fds(pid).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(read_children(pid).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(read_auxv(pid).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(read_fds(pid).status().message()), HasSubstr(absl::StrCat("opendir /proc/", pid, "/fd")));
}

TEST(Text, LongLink) {
  char directory[] = "/tmp/links.XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::string link = absl::StrCat(directory, "/link");
  for (const size_t length : {1, 255, 256, 257, 1024, 4000}) {
    const std::string target(length, 't');
    ASSERT_EQ(::symlink(target.c_str(), link.c_str()), 0);
    const auto read = read_link(link);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, target);
    ASSERT_EQ(::unlink(link.c_str()), 0);
  }
  EXPECT_THAT(std::string(read_link(link).status().message()), HasSubstr(absl::StrCat("readlink ", link, ": ENOENT")));
  ::rmdir(directory);
}

TEST(Text, NamespaceInode) {
  struct stat stat = {};
  for (const char* kind : {"pid", "mnt", "user", "net", "pid_for_children"}) {
    ASSERT_EQ(::stat(absl::StrCat("/proc/self/ns/", kind).c_str(), &stat), 0) << kind;
    const auto inode = read_namespace_inode(::getpid(), kind);
    ASSERT_TRUE(inode.ok()) << inode.status();
    EXPECT_EQ(*inode, stat.st_ino);
  }
  EXPECT_EQ(read_namespace_inode(::getpid(), "nonesuch").status().code(), absl::StatusCode::kNotFound);
  // A link, but not one to a namespace.
  EXPECT_EQ(read_namespace_inode(::getpid(), "../exe").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Text, AuxiliaryVector) {
  const auto auxv = read_auxv(::getpid());
  ASSERT_TRUE(auxv.ok()) << auxv.status();
  ASSERT_EQ(auxv->size() % 16, 0u);
  uint64_t entry_point = 0;
  for (size_t at = 0; at < auxv->size(); at += 16) {
    uint64_t pair[2];
    std::memcpy(pair, auxv->data() + at, sizeof(pair));
    if (pair[0] == AT_ENTRY) entry_point = pair[1];
  }
  EXPECT_EQ(entry_point, ::getauxval(AT_ENTRY));
}

}  // namespace
}  // namespace stillpoint::procfs
