#include "sdk/helper_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "sdk/helper_path.h"
#include "sdk/raw_syscall.h"

namespace stillpoint::sdk {
namespace {

constexpr char kServicePrefix[] = "unix:";
constexpr int kHelperFd = 3;
constexpr int kSignals = 64;

Status unavailable(const std::string& what, int error) {
  return Status(Code::kUnavailable, what + ": " + ::strerrorname_np(error) + " (" + std::strerror(error) + ")");
}

// Shared with the two tasks that share our memory.
struct Launch {
  const char* path;
  char* const* arguments;
  char* const* environment;
  int socket;
  unsigned char* stack_end;
  pid_t helper;             // result
  int error;                // result: of the call that failed
  const char* failed_call;  // result
  int started;              // futex: the results are there
};

STILLPOINT_NO_SANITIZE int fail(Launch& launch, const char* call, long result) {
  launch.failed_call = call;
  launch.error = static_cast<int>(-result);
  return 127;
}

// fds 0-2 lead nowhere: the application's own would keep its pipes and terminals open after its end.
STILLPOINT_NO_SANITIZE long fill_standard_fds() {
  long null = raw_syscall(SYS_open, syscall_argument("/dev/null"), O_RDWR);
  if (null < 0) null = raw_syscall(SYS_memfd_create, syscall_argument("stillpoint-null"), 0);
  for (int fd = 0; null >= 0 && fd <= 2; ++fd) {
    if (null == fd) continue;
    if (const long result = raw_syscall(SYS_dup2, null, fd); result < 0) return result;
  }
  return null;
}

// Nothing of the application's is to reach the helper: signal handling, fds, session, directory, affinity. Runs in a
// task of its own that still has our memory.
STILLPOINT_NO_SANITIZE int become_helper(void* argument) {
  Launch& launch = *static_cast<Launch*>(argument);
  raw_syscall(SYS_setsid);
  raw_syscall(SYS_chdir, syscall_argument("/"));
  struct {
    uint64_t handler, flags, restorer, mask;
  } default_action = {};
  for (int signal = 1; signal <= kSignals; ++signal) {
    raw_syscall(SYS_rt_sigaction, signal, syscall_argument(&default_action), 0, sizeof(uint64_t));
  }
  // The socket may have any number: to 3 it goes first, by way of one that nothing below overwrites.
  long socket = raw_syscall(SYS_fcntl, launch.socket, F_DUPFD, kHelperFd + 1);
  if (socket < 0) return fail(launch, "fcntl(F_DUPFD)", socket);
  if (const long result = raw_syscall(SYS_dup2, socket, kHelperFd); result < 0) return fail(launch, "dup2", result);
  if (const long result = fill_standard_fds(); result < 0) return fail(launch, "open(/dev/null)", result);
  if (const long result = raw_syscall(SYS_close_range, kHelperFd + 1, ~0u, 0); result < 0) {
    return fail(launch, "close_range", result);
  }
  unsigned char all_cpus[128];
  for (unsigned char& byte : all_cpus) byte = 0xff;
  raw_syscall(SYS_sched_setaffinity, 0, sizeof all_cpus, syscall_argument(all_cpus));
  uint64_t no_signals = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, syscall_argument(&no_signals), 0, sizeof no_signals);
  return fail(launch, "execve",
              raw_syscall(SYS_execve, syscall_argument(launch.path), syscall_argument(launch.arguments),
                          syscall_argument(launch.environment)));
}

STILLPOINT_NO_SANITIZE int start_helper_task(void* argument) {
  Launch& launch = *static_cast<Launch*>(argument);
  const pid_t pid = ::clone(&become_helper, launch.stack_end, CLONE_VM | CLONE_VFORK, argument);
  if (pid < 0) return fail(launch, "clone", -errno);
  launch.helper = pid;
  return 0;
}

// For pid 1, to which every orphan comes. A task that executes a program gets SIGCHLD as its exit signal, and every
// wait(2) finds it; its parent need not be the application: it is this task, which executes nothing, has no exit
// signal, holds no fd of its own and ends with the helper.
STILLPOINT_NO_SANITIZE int keep_helper(void* argument) {
  Launch& launch = *static_cast<Launch*>(argument);
  start_helper_task(&launch);
  const pid_t helper = launch.helper;
  // From the wake on `launch` may be gone.
  __atomic_store_n(&launch.started, 1, __ATOMIC_RELEASE);
  raw_syscall(SYS_futex, syscall_argument(&launch.started), FUTEX_WAKE_PRIVATE, 1);
  while (helper > 0 && raw_syscall(SYS_wait4, helper, 0, __WALL, 0) == -EINTR) {
  }
  return 0;
}

pid_t start_keeper(Launch& launch, CloneStacks& stacks) {
  const int flags = CLONE_VM | CLONE_FILES | CLONE_FS;
  const pid_t keeper = ::clone(&keep_helper, stacks.intermediate + kCloneStackSize, flags, &launch);
  if (keeper < 0) return -errno;
  while (__atomic_load_n(&launch.started, __ATOMIC_ACQUIRE) == 0) {
    raw_syscall(SYS_futex, syscall_argument(&launch.started), FUTEX_WAIT_PRIVATE, 0, 0);
  }
  return keeper;
}

// Without the loader's and the allocator's settings, which were meant for the application. A setuid program's
// environment belongs to somebody else altogether.
std::vector<std::string> helper_environment() {
  std::vector<std::string> kept;
  if (::getauxval(AT_SECURE) != 0) return {"PATH=/usr/bin:/bin"};
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string variable = *entry;
    const auto begins = [&](const char* prefix) { return variable.rfind(prefix, 0) == 0; };
    if (begins("LD_") || begins("MALLOC_") || begins("GLIBC_TUNABLES=")) continue;
    kept.push_back(variable);
  }
  return kept;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (std::string& string : strings) result.push_back(string.data());
  result.push_back(nullptr);
  return result;
}

// The keeper's pid, or 0 where none is needed; -errno.
pid_t start(Launch& launch, CloneStacks& stacks) {
  return orphans_land_here() ? start_keeper(launch, stacks) : run_in_intermediate(&start_helper_task, &launch, stacks);
}

Result<HelperConnection> start_embedded(const std::string& configured, CloneStacks& stacks) {
  Result<std::string> path = find_helper(configured);
  if (!path.ok()) return path.status();
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return unavailable("socketpair", errno);
  // The helper believes the kernel only about who speaks: its end must ask before we say the first word.
  const int on = 1;
  ::setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);

  std::vector<std::string> argument_strings = {"stillpoint-helper", "--fd", std::to_string(kHelperFd)};
  std::vector<std::string> environment_strings = helper_environment();
  const std::vector<char*> arguments = pointers(argument_strings), environment = pointers(environment_strings);
  Launch launch{
      path->c_str(), arguments.data(), environment.data(), ends[1], stacks.task + kCloneStackSize, 0, 0, nullptr, 0};
  const pid_t result = start(launch, stacks);
  ::close(ends[1]);
  if (result >= 0 && launch.error == 0) return HelperConnection{ends[0], launch.helper, result};
  ::close(ends[0]);
  while (result > 0 && ::waitpid(result, nullptr, __WALL) < 0 && errno == EINTR) {
  }
  if (result < 0) return unavailable("cannot start the helper " + *path + ": clone", -result);
  return unavailable("cannot start the helper " + *path + ": " + launch.failed_call, launch.error);
}

Result<HelperConnection> connect_to_service(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Status(Code::kInvalidArgument, "the helper's socket path is empty or too long: " + path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (socket < 0) return unavailable("socket(AF_UNIX)", errno);
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
      ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) {
    const int error = errno;
    ::close(socket);
    return unavailable("cannot reach the helper's service at " + path, error);
  }
  if (peer.uid != 0 && peer.uid != ::geteuid()) {
    ::close(socket);
    return Status(Code::kPermissionDenied, "the service at " + path + " runs as uid " + std::to_string(peer.uid) +
                                               ", neither root nor this user");
  }
  return HelperConnection{socket, peer.pid, 0};
}

}  // namespace

Result<HelperConnection> connect_to_helper(const Settings& settings, CloneStacks& stacks) {
  if (settings.helper.rfind(kServicePrefix, 0) == 0) {
    return connect_to_service(settings.helper.substr(sizeof kServicePrefix - 1));
  }
  return start_embedded(settings.helper, stacks);
}

}  // namespace stillpoint::sdk
