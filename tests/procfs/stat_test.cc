#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "helper/procfs/process_files.h"
#include "tests/procfs/kernel_texts.h"
#include "tests/procfs/waiting_child.h"

extern char** environ;

namespace stillpoint::procfs {
namespace {

using testing::HasSubstr;

TEST(ParseStat, HostileCommand) {
  const auto stat = parse_stat(kStat);
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->pid, 8000);
  EXPECT_EQ(stat->comm, "a) R 1 (b");
  EXPECT_EQ(stat->state, 'S');
  EXPECT_EQ(stat->parent_pid, 7959);
  EXPECT_EQ(stat->process_group, 7953);
  EXPECT_EQ(stat->session, 2586);
  EXPECT_EQ(stat->controlling_terminal, 34816);
  EXPECT_EQ(stat->foreground_group, 7953);
  EXPECT_EQ(stat->flags, 4194304u);
  EXPECT_EQ(stat->start_time_ticks, 267435u);
  EXPECT_EQ(stat->start_code, 94243233292288u);
  EXPECT_EQ(stat->end_code, 94243233310217u);
  EXPECT_EQ(stat->start_stack, 140720913501088u);
  EXPECT_EQ(stat->start_data, 94243233324304u);
  EXPECT_EQ(stat->end_data, 94243233325568u);
  EXPECT_EQ(stat->start_brk, 94244102000640u);
  EXPECT_EQ(stat->arg_start, 140720913504445u);
  EXPECT_EQ(stat->arg_end, 140720913504455u);
  EXPECT_EQ(stat->env_start, 140720913504455u);
  EXPECT_EQ(stat->env_end, 140720913506281u);
  EXPECT_EQ(stat->exit_code, 9);
}

TEST(ParseStat, KernelThread) {
  const auto stat = parse_stat(kStatKernelThread);
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->foreground_group, -1);
  EXPECT_EQ(stat->parent_pid, 0);
}

TEST(ParseStat, RefusesWhatIsCutShort) {
  const std::string text = kStat;
  for (size_t length = 0; length < text.size() - 2; ++length) {
    EXPECT_FALSE(parse_stat(text.substr(0, length)).ok()) << length;
  }
}

TEST(ParseStat, RefusesOverflowAndNonsense) {
  std::string text = kStat;
  text.replace(text.find("7959"), 4, "99999999999");
  EXPECT_THAT(std::string(parse_stat(text).status().message()), HasSubstr("stat line 1: parent pid expected"));
  EXPECT_FALSE(parse_stat("1 (a) RR 2 3").ok());
  EXPECT_FALSE(parse_stat("1 a R 2 3").ok());
  EXPECT_FALSE(parse_stat("1 (a R 2 3").ok());
}

TEST(ReadStat, OddNamesOfAChild) {
  for (const char* name : {") R 1 (", "a\nb", "((((", ")", "", " ", "0123456789abcde", "\xff\x01"}) {
    const WaitingChild child([&] { return ::prctl(PR_SET_NAME, name) == 0; });
    ASSERT_TRUE(child.ready());
    for (const auto& stat : {read_stat(child.pid()), read_stat(child.pid(), child.pid())}) {
      ASSERT_TRUE(stat.ok()) << stat.status();
      EXPECT_EQ(stat->comm, name);
      EXPECT_EQ(stat->pid, child.pid());
      EXPECT_EQ(stat->parent_pid, ::getpid());
      EXPECT_EQ(stat->process_group, ::getpgrp());
      EXPECT_EQ(stat->session, ::getsid(0));
      EXPECT_GT(stat->start_time_ticks, 0u);
    }
  }
}

TEST(ReadStat, AddressesOfThisProcess) {
  const auto stat = read_stat(::getpid());
  ASSERT_TRUE(stat.ok()) << stat.status();
  const auto environment = reinterpret_cast<uint64_t>(environ[0]);
  EXPECT_GE(environment, stat->env_start);
  EXPECT_LT(environment, stat->env_end);
  EXPECT_LE(stat->arg_end, stat->env_start);
  EXPECT_LE(stat->start_brk, reinterpret_cast<uint64_t>(::sbrk(0)));
  EXPECT_EQ(stat->state, 'R');
}

TEST(ReadStat, ThreadHasItsOwn) {
  std::string comm;
  std::thread thread([&] {
    ::prctl(PR_SET_NAME, "side");
    const auto stat = read_stat(::getpid(), ::gettid());
    if (stat.ok() && stat->pid == ::gettid()) comm = stat->comm;
  });
  thread.join();
  EXPECT_EQ(comm, "side");
}

TEST(ReadStat, Zombie) {
  WaitingChild child([] { return true; });
  ASSERT_TRUE(child.ready());
  child.make_zombie();
  const auto stat = read_stat(child.pid());
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->state, 'Z');
  EXPECT_EQ(stat->exit_code, SIGKILL);
}

TEST(ReadStat, ErrorNamesTheFile) {
  WaitingChild child([] { return true; });
  const pid_t pid = child.pid();
  child.kill();
  EXPECT_THAT(std::string(read_stat(pid, pid).status().message()),
              HasSubstr(absl::StrCat("/proc/", pid, "/task/", pid, "/stat")));
}

}  // namespace
}  // namespace stillpoint::procfs
