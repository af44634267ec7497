#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "helper/base/syscalls.h"
#include "helper/procfs/process_files.h"
#include "tests/procfs/kernel_texts.h"
#include "tests/procfs/waiting_child.h"

namespace stillpoint::procfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t bit(int signal) { return uint64_t{1} << (signal - 1); }

TEST(ParseStatus, Linux514) {
  const auto status = parse_status(kStatus514);
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->name, "worker 3");
  EXPECT_EQ(status->umask, 0027u);
  EXPECT_EQ(status->state, 't');
  EXPECT_EQ(status->thread_group, 4242);
  EXPECT_EQ(status->pid, 4245);
  EXPECT_EQ(status->parent_pid, 4200);
  EXPECT_EQ(status->tracer_pid, 4250);
  EXPECT_THAT((std::vector<uint32_t>{status->uid, status->euid, status->suid, status->fsuid}),
              ElementsAre(1000, 1001, 1002, 1003));
  EXPECT_THAT((std::vector<uint32_t>{status->gid, status->egid, status->sgid, status->fsgid}),
              ElementsAre(100, 101, 102, 103));
  EXPECT_THAT(status->groups, ElementsAre(4, 24, 100, 4294967294u));
  EXPECT_THAT(status->namespace_pids, ElementsAre(4245, 15));
  EXPECT_EQ(status->locked_kib, 132u);
  EXPECT_FALSE(status->thp_enabled);
  EXPECT_EQ(status->pending, bit(SIGUSR1));
  EXPECT_EQ(status->shared_pending, bit(SIGTERM));
  EXPECT_EQ(status->blocked, 0xfffffffe7ffbfeffu);
  EXPECT_EQ(status->ignored, bit(SIGPIPE));
  EXPECT_EQ(status->caught, 0x180000002u);
  EXPECT_EQ(status->cap_inheritable, 1u);
  EXPECT_EQ(status->cap_permitted, 0x1ffffffffffu);
  EXPECT_EQ(status->cap_effective, 4u);
  EXPECT_EQ(status->cap_bounding, 0x1ffffffffffu);
  EXPECT_EQ(status->cap_ambient, 8u);
  EXPECT_TRUE(status->no_new_privs);
  EXPECT_EQ(status->seccomp, 2);
  EXPECT_EQ(status->x86_thread_features, "");
}

TEST(ParseStatus, Linux618) {
  const auto status = parse_status(kStatus618);
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->name, "a\nb\\c: d");
  EXPECT_TRUE(status->groups.empty());
  EXPECT_TRUE(status->thp_enabled);
  EXPECT_EQ(status->x86_thread_features, "shstk wrss");
}

TEST(ParseStatus, ZombieHasFewerLines) {
  const auto status = parse_status(kStatusZombie);
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->state, 'Z');
  EXPECT_EQ(status->umask, 0u);
  EXPECT_TRUE(status->namespace_pids.empty());
  EXPECT_TRUE(status->thp_enabled);
}

TEST(ParseStatus, EveryRequiredLineIsMissed) {
  for (const char* key :
       {"Name",   "State",  "Tgid",   "Pid",    "PPid",   "TracerPid", "Uid",    "Gid",    "Groups", "SigPnd",
        "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm",    "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"}) {
    const std::string line = std::string("\n") + key + ":";
    const std::string text = std::string("\n") + kStatusZombie;
    ASSERT_NE(text.find(line), std::string::npos) << key;
    const auto status = parse_status(absl::StrReplaceAll(text, {{line, "\nOther:"}}));
    EXPECT_EQ(status.status().message(), std::string("status has no line ") + key);
  }
}

TEST(ParseStatus, RefusesBadValues) {
  const std::pair<const char*, const char*> cases[] = {
      {"Tgid:\t8000", "Tgid:\t99999999999"}, {"Tgid:\t8000", "Tgid:\t8000x"},      {"Tgid:\t8000", "Tgid:8000"},
      {"Uid:\t0\t0\t0\t0", "Uid:\t0\t0\t0"}, {"Gid:\t0\t0", "Gid:\t0\t0\t0"},      {"Groups:\t ", "Groups:\t1 x"},
      {"CapEff:\t0", "CapEff:\t10"},         {"NoNewPrivs:\t0", "NoNewPrivs:\t2"}, {"State:\tZ (zombie)", "State:\t"},
      {"SigBlk:\t0", "SigBlk:\t-"},
  };
  for (const auto& [from, to] : cases) {
    const std::string text = absl::StrReplaceAll(kStatusZombie, {{from, to}});
    ASSERT_NE(text, kStatusZombie);
    EXPECT_THAT(std::string(parse_status(text).status().message()), HasSubstr("value of")) << to;
  }
}

// No value may pose as another line.
TEST(ParseStatus, RefusesASecondLineOfTheSameName) {
  const std::string text = std::string(kStatusZombie) + "Uid:\t1\t1\t1\t1\n";
  EXPECT_THAT(std::string(parse_status(text).status().message()), HasSubstr("no second line of this name"));
}

TEST(ReadStatus, ChildWithKnownState) {
  const WaitingChild child([] {
    ::umask(0137);
    ::signal(SIGUSR1, SIG_IGN);
    ::signal(
        SIGUSR2, +[](int) {});
    sigset_t mask;
    ::sigemptyset(&mask);
    ::sigaddset(&mask, SIGTERM);
    ::sigaddset(&mask, SIGRTMAX);
    return ::sigprocmask(SIG_SETMASK, &mask, nullptr) == 0 && ::raise(SIGTERM) == 0 &&
           ::kill(::getpid(), SIGRTMAX) == 0 && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_NAME, "Tgid:\t1\nUid:\\") == 0;
  });
  ASSERT_TRUE(child.ready());
  const auto status = read_status(child.pid(), child.pid());
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->name, "Tgid:\t1\nUid:\\");
  EXPECT_EQ(status->umask, 0137u);
  EXPECT_EQ(status->pid, child.pid());
  EXPECT_EQ(status->thread_group, child.pid());
  EXPECT_EQ(status->parent_pid, ::getpid());
  EXPECT_EQ(status->tracer_pid, 0);
  EXPECT_EQ(status->uid, ::getuid());
  EXPECT_EQ(status->egid, ::getegid());
  EXPECT_EQ(status->blocked, bit(SIGTERM) | bit(SIGRTMAX));
  EXPECT_EQ(status->pending, bit(SIGTERM));
  EXPECT_EQ(status->shared_pending, bit(SIGRTMAX));
  EXPECT_TRUE(status->ignored & bit(SIGUSR1));
  EXPECT_TRUE(status->caught & bit(SIGUSR2));
  EXPECT_TRUE(status->no_new_privs);
  EXPECT_FALSE(status->thp_enabled);
  std::vector<gid_t> groups(static_cast<size_t>(::getgroups(0, nullptr)));
  ASSERT_EQ(::getgroups(static_cast<int>(groups.size()), groups.data()), static_cast<int>(groups.size()));
  EXPECT_THAT(status->groups, testing::UnorderedElementsAreArray(groups));
  if (!status->namespace_pids.empty()) {
    EXPECT_EQ(status->namespace_pids.front(), child.pid());
  }
}

TEST(ReadStatus, LockedMemory) {
  const WaitingChild child([] {
    void* page = ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return ::syscall(SYS_mlock, page, kPageSize) == 0;  // AddressSanitizer makes mlock() do nothing
  });
  if (!child.ready()) GTEST_SKIP() << "mlock(2) of one page is not permitted here (RLIMIT_MEMLOCK)";
  const auto status = read_status(child.pid(), child.pid());
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->locked_kib, kPageSize / 1024);
}

}  // namespace
}  // namespace stillpoint::procfs
