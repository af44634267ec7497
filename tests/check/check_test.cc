#include "helper/check/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include "helper/base/unique_fd.h"
#include "helper/check/probes.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr uid_t kNobody = 65534;

using ByName = std::map<std::string, Capability>;

ByName check_by_name(const std::string& directory = "/tmp") {
  ByName result;
  for (const Capability& capability : check_machine(directory)) {
    EXPECT_TRUE(result.emplace(capability.name, capability).second) << capability.name << " stands there twice";
  }
  return result;
}

std::vector<Capability> values(const ByName& by_name) {
  std::vector<Capability> result;
  for (const auto& [name, capability] : by_name) result.push_back(capability);
  return result;
}

class Disabled {
 public:
  explicit Disabled(const char* features) { ::setenv("STILLPOINT_DISABLE", features, 1); }
  ~Disabled() { ::unsetenv("STILLPOINT_DISABLE"); }
  Disabled(const Disabled&) = delete;
  Disabled& operator=(const Disabled&) = delete;
};

class CheckMachine : public testing::Test {
 protected:
  void SetUp() override { ::unsetenv("STILLPOINT_DISABLE"); }
};

// Runs `body` in a child that is an ordinary user, which it becomes if this process is root.
template <typename Body>
void as_ordinary_user(Body body) {
  ::fflush(nullptr);
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 ||
                             ::setresuid(kNobody, kNobody, kNobody) != 0)) {
      ::_exit(99);
    }
    body();
    ::fflush(nullptr);
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
}

TEST_F(CheckMachine, EveryRowSaysWhatItIsFor) {
  for (const auto& [name, capability] : check_by_name()) {
    EXPECT_THAT(capability.enables, Not(IsEmpty())) << name;
    EXPECT_THAT(capability.without, Not(IsEmpty())) << name;
    if (!capability.available) {
      EXPECT_THAT(capability.detail, Not(IsEmpty())) << name;
    }
  }
}

TEST_F(CheckMachine, CapabilitiesAreThoseOfThisProcess) {
  const ByName found = check_by_name();
  const auto status = procfs::read_status(::getpid(), ::gettid());
  ASSERT_TRUE(status.ok()) << status.status();
  const std::pair<const char*, int> expected[] = {{"cap_sys_ptrace", 19},
                                                  {"cap_checkpoint_restore", 40},
                                                  {"cap_net_admin", 12},
                                                  {"cap_sys_admin", 21},
                                                  {"cap_sys_resource", 24}};
  for (const auto& [name, number] : expected) {
    EXPECT_EQ(found.at(name).available, (status->cap_effective >> number & 1) != 0) << name;
  }
  // Choosing a pid is exactly what one of these two permits, in a pid namespace of the same user namespace.
  if (found.at("cap_checkpoint_restore").available || found.at("cap_sys_admin").available) {
    EXPECT_EQ(found.at("clone3_set_tid").available || found.at("pid_ns").available, true);
  }
}

TEST_F(CheckMachine, OrdinaryUser) {
  as_ordinary_user([] {
    const ByName found = check_by_name();
    for (const char* name : {"cap_sys_ptrace", "cap_checkpoint_restore", "cap_net_admin", "cap_sys_admin",
                             "cap_sys_resource", "clone3_set_tid", "pid_ns"}) {
      EXPECT_FALSE(found.at(name).available) << name;
    }
    EXPECT_THAT(found.at("clone3_set_tid").detail, HasSubstr("EPERM"));
    EXPECT_EQ(found.at("same_pid").available, found.at("userns").available);
    EXPECT_TRUE(found.at("set_mm_map").available) << found.at("set_mm_map").detail;
    if (found.at("time_ns").available) {
      EXPECT_EQ(found.at("time_ns").detail, "inside a user namespace");
    }
  });
}

// The probes must not be stricter than the kernel: whatever succeeds here by hand is reported as available.
TEST_F(CheckMachine, AgreesWithTheKernel) {
  const ByName found = check_by_name();
  EXPECT_EQ(found.at("kernel").available, true) << found.at("kernel").detail;
  EXPECT_EQ(found.at("process_vm_readv").available, found.at("ptrace").available);
  if (found.at("cap_sys_ptrace").available) {
    EXPECT_TRUE(found.at("ptrace_any").available) << found.at("ptrace_any").detail;
    EXPECT_TRUE(found.at("ptrace").available) << found.at("ptrace").detail;
  }
  if (::access("/proc/sys/kernel/yama", F_OK) != 0 && ::access("/proc/self/attr/apparmor", F_OK) != 0) {
    EXPECT_TRUE(found.at("ptrace_any").available) << found.at("ptrace_any").detail;
  }
}

// Whether a child may enter these namespaces and become somebody in them, asked without any of the code under test.
bool may_enter(int namespaces) {
  const std::string uid_map = std::to_string(::geteuid()) + " " + std::to_string(::geteuid()) + " 1";
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_DUMPABLE, 1);
    bool entered = ::unshare(namespaces) == 0;
    if (entered && (namespaces & CLONE_NEWUSER) != 0) {
      const int fd = ::open("/proc/self/uid_map", O_WRONLY);
      entered = ::write(fd, uid_map.data(), uid_map.size()) == static_cast<ssize_t>(uid_map.size());
    }
    const pid_t init = entered ? ::fork() : -1;
    if (init == 0) {
      const bool mounts = (namespaces & CLONE_NEWNS) != 0;
      ::_exit(mounts && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ? 1 : 0);
    }
    int status = 1;
    ::_exit(init > 0 && ::waitpid(init, &status, 0) == init && status == 0 ? 0 : 1);
  }
  int status = 1;
  return ::waitpid(pid, &status, 0) == pid && status == 0;
}

TEST_F(CheckMachine, NamespacesAgreeWithTheKernel) {
  const auto compare = [] {
    const ByName found = check_by_name();
    EXPECT_EQ(found.at("pid_ns").available, may_enter(CLONE_NEWPID | CLONE_NEWNS)) << found.at("pid_ns").detail;
    EXPECT_EQ(found.at("userns").available, may_enter(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS))
        << found.at("userns").detail;
    EXPECT_EQ(found.at("time_ns").available, may_enter(CLONE_NEWTIME) || may_enter(CLONE_NEWUSER | CLONE_NEWTIME))
        << found.at("time_ns").detail;
    if (!found.at("pid_ns").available && !found.at("userns").available) {
      EXPECT_FALSE(found.at("own_proc").available);
    }
  };
  compare();
  as_ordinary_user(compare);
}

TEST_F(CheckMachine, SwitchesChangeTheOutcome) {
  for (const char* name : {"pidfd_getfd", "time_ns", "clone3_set_tid", "pagemap_scan", "kcmp", "userns", "pid_ns"}) {
    const Disabled disabled(name);
    const Capability capability = check_by_name().at(name);
    EXPECT_FALSE(capability.available) << name;
    EXPECT_THAT(capability.detail, HasSubstr("STILLPOINT_DISABLE")) << name;
  }
}

TEST_F(CheckMachine, WithoutEveryWayToTheSamePidThereIsNoRestart) {
  const Disabled disabled("clone3_set_tid,pid_ns,userns");
  const ByName found = check_by_name();
  EXPECT_FALSE(found.at("same_pid").available);
  EXPECT_FALSE(found.at("own_proc").available);
  const std::vector<std::string> obstacles = restart_obstacles(values(found));
  ASSERT_EQ(obstacles.size(), 1u);
  EXPECT_THAT(obstacles.front(), HasSubstr("same_pid: no restart"));
}

TEST_F(CheckMachine, AnyOneWayToTheSamePidIsEnough) {
  const std::pair<const char*, const char*> cases[] = {
      {"clone3_set_tid", "pid_ns,userns"}, {"pid_ns", "clone3_set_tid,userns"}, {"userns", "clone3_set_tid,pid_ns"}};
  for (const auto& [way, others] : cases) {
    const Disabled disabled(others);
    const ByName found = check_by_name();
    EXPECT_EQ(found.at("same_pid").available, found.at(way).available) << way;
  }
}

std::string namespaces() {
  std::string all;
  for (const char* kind : {"user", "pid", "pid_for_children", "mnt", "time", "time_for_children"}) {
    const auto inode = procfs::read_namespace_inode(::getpid(), kind);
    all += std::string(kind) + ":" + (inode.ok() ? std::to_string(*inode) : "none") + " ";
  }
  return all;
}

size_t entries(const std::string& directory) {
  size_t count = 0;
  DIR* const stream = ::opendir(directory.c_str());
  EXPECT_NE(stream, nullptr);
  while (stream != nullptr && ::readdir(stream) != nullptr) ++count;
  if (stream != nullptr) ::closedir(stream);
  return count;
}

TEST_F(CheckMachine, LeavesNothingBehind) {
  char directory[] = "/tmp/check_test.XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::string namespaces_before = namespaces();
  const auto fds_before = procfs::read_fds(::getpid());
  const auto stat_before = procfs::read_stat(::getpid());
  const auto status_before = procfs::read_status(::getpid(), ::gettid());
  const int dumpable_before = ::prctl(PR_GET_DUMPABLE);
  check_machine(directory);
  EXPECT_EQ(namespaces(), namespaces_before);
  EXPECT_EQ(entries(directory), 2u);  // . and ..
  EXPECT_EQ(*procfs::read_fds(::getpid()), *fds_before);
  EXPECT_EQ(procfs::read_stat(::getpid())->start_brk, stat_before->start_brk);
  const auto status = procfs::read_status(::getpid(), ::gettid());
  EXPECT_EQ(status->caught, status_before->caught);
  EXPECT_EQ(status->ignored, status_before->ignored);
  EXPECT_EQ(status->blocked, status_before->blocked);
  EXPECT_EQ(::prctl(PR_GET_DUMPABLE), dumpable_before);
  errno = 0;
  EXPECT_EQ(::waitpid(-1, nullptr, __WALL | WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
  ::rmdir(directory);
}

// A caller that ignores SIGCHLD cannot wait for anybody; the answers are the same.
TEST_F(CheckMachine, WorksWhereSigchldIsIgnored) {
  const ByName before = check_by_name();
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  struct sigaction old = {};
  ASSERT_EQ(::sigaction(SIGCHLD, &ignore, &old), 0);
  const ByName after = check_by_name();
  ASSERT_EQ(::sigaction(SIGCHLD, &old, nullptr), 0);
  for (const auto& [name, capability] : before) EXPECT_EQ(after.at(name).available, capability.available) << name;
}

TEST_F(CheckMachine, DirectIoNamesTheDirectory) {
  const Capability capability = check_by_name("/nonexistent/directory").at("direct_io");
  EXPECT_FALSE(capability.available);
  EXPECT_THAT(capability.detail, HasSubstr("/nonexistent/directory: ENOENT"));
}

TEST(Probe, DeathIsAnAnswer) {
  const check::Probe probe = check::in_child([]() -> check::Probe {
    ::raise(SIGKILL);
    return check::yes();
  });
  EXPECT_FALSE(probe.available);
  EXPECT_EQ(probe.detail, "the probe died of it");
}

TEST(Probe, AnswersTravelWhole) {
  const check::Probe probe = check::in_child([] { return check::no("why\nnot: 42"); });
  EXPECT_FALSE(probe.available);
  EXPECT_EQ(probe.detail, "why\nnot: 42");
  EXPECT_TRUE(check::in_child([] { return check::yes(std::string(100000, 'x')); }).available);
}

TEST(Probe, TargetEndsWithTheObject) {
  pid_t pid = -1;
  {
    const check::Target target(check::Target::Permission::kNone);
    pid = target.pid();
    ASSERT_GT(pid, 0);
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

}  // namespace
}  // namespace stillpoint
