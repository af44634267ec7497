// self_description REPORT: says all it can see of itself, again and again; a line with CHANGED for whatever is no
// longer as it was, a line "tick" per look. With SUBREAPER, SIGCHLD and children are its business too.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<int> g_child_signals{0};
void on_child(int) { ++g_child_signals; }
void on_user(int) {}

std::string read_whole(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "errno " + std::to_string(errno);
  std::string text(65536, '\0');
  size_t size = 0;
  for (ssize_t n; (n = ::read(fd, text.data() + size, text.size() - size)) > 0;) size += static_cast<size_t>(n);
  ::close(fd);
  text.resize(size);
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

std::string link_of(const std::string& path) {
  char target[4096];
  const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
  return n < 0 ? "errno " + std::to_string(errno) : std::string(target, static_cast<size_t>(n));
}

std::vector<std::string> entries(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = ::opendir(path.c_str());
  while (const dirent* entry = directory == nullptr ? nullptr : ::readdir(directory)) {
    if (entry->d_name[0] != '.') names.push_back(entry->d_name);
  }
  if (directory != nullptr) ::closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

using Description = std::map<std::string, std::string>;

void describe_fds(Description& all) {
  std::string fds;
  for (const std::string& number : entries("/proc/self/fd")) {
    const std::string link = link_of("/proc/self/fd/" + number);
    if (link.find("/proc/") == 0) continue;  // the directory that is being read
    fds += number + "=" + link + " flags " + std::to_string(::fcntl(std::atoi(number.c_str()), F_GETFD)) + "/" +
           std::to_string(::fcntl(std::atoi(number.c_str()), F_GETFL)) + "; ";
  }
  all["fds"] = fds;
}

// TracerPid is left out: between PTRACE_SEIZE and PTRACE_INTERRUPT a thread runs and is traced.
// Seen by the second thread, whose attributes are odd: the first one needs the time stamp counter for its clock.
std::atomic<int> g_second_tsc{-1}, g_second_cpuid{-1};

void live_as_second_thread() {
  ::prctl(PR_SET_NAME, "second");
  ::prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0);
  ::syscall(SYS_arch_prctl, 0x1012 /* ARCH_SET_CPUID */, 0);
  for (;;) {
    int tsc = 0;
    g_second_tsc = ::prctl(PR_GET_TSC, &tsc, 0, 0, 0) == 0 ? tsc : -2;
    g_second_cpuid = static_cast<int>(::syscall(SYS_arch_prctl, 0x1011 /* ARCH_GET_CPUID */, 0));
    const timespec nap = {0, 1000000};
    ::nanosleep(&nap, nullptr);
  }
}

// What this kernel or processor does not know reads as -1 in every life.
void describe_attributes(Description& all) {
  const auto number = [](long value) { return std::to_string(value) + " "; };
  uint64_t nodes[16] = {}, permitted = 0;
  int mode = -1;
  const long xstate = ::syscall(SYS_arch_prctl, 0x1022 /* ARCH_GET_XCOMP_PERM */, &permitted);
  const long policy = ::syscall(SYS_get_mempolicy, &mode, nodes, 1024, 0, 0);
  all["attributes"] =
      "mdwe " + number(::prctl(66, 0, 0, 0, 0)) + "merge " + number(::prctl(68, 0, 0, 0, 0)) + "machine check " +
      number(::prctl(PR_MCE_KILL_GET, 0, 0, 0, 0)) + "thp " + number(::prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0)) +
      "io flusher " + number(::prctl(58, 0, 0, 0, 0)) + "store bypass " +
      number(::prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0)) + "branches " +
      number(::prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, 0, 0, 0)) + "xstate " + number(xstate) +
      number(static_cast<long>(permitted)) + "policy " + number(policy) + number(mode) +
      number(static_cast<long>(nodes[0])) + "tsc " + number(g_second_tsc) + "cpuid " + number(g_second_cpuid);
}

// Mapped with MAP_DROPPABLE and filled. null: the kernel has no such memory.
char* g_droppable = nullptr;

void describe_droppable(Description& all) {
  if (g_droppable == nullptr) return;
  char address[32];
  std::snprintf(address, sizeof address, "%lx-", reinterpret_cast<unsigned long>(g_droppable));
  const std::string smaps = read_whole("/proc/self/smaps");
  const size_t flags = smaps.find("VmFlags:", smaps.find(address));
  all["droppable"] = flags == std::string::npos ? "gone" : smaps.substr(flags, smaps.find('\n', flags) - flags);
}

// What the kernel lacks is said in the report.
std::string map_odd_memory() {
  std::string text;
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, 8 /* MAP_DROPPABLE */ | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    text += "no droppable memory\n";
  } else {
    g_droppable = static_cast<char*>(page);
    g_droppable[0] = 'x';
  }
  if (::getenv("PKEY") == nullptr) return text;
  const int key = ::pkey_alloc(0, 0);
  page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (key < 0 || ::pkey_mprotect(page, 4096, PROT_READ | PROT_WRITE, key) != 0) text += "no protection keys\n";
  return text;
}

void set_attributes() {
  ::prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0);
  ::prctl(67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0);
  ::prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
  ::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  ::prctl(57 /* PR_SET_IO_FLUSHER */, 1, 0, 0, 0);
  ::prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0);
  ::prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_FORCE_DISABLE, 0, 0);
  ::syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* AMX tile data */);
  const uint64_t node = 1;
  ::syscall(SYS_set_mempolicy, 2 /* MPOL_BIND */, &node, 64);
}

void describe_threads(Description& all) {
  for (const std::string& tid : entries("/proc/self/task")) {
    const std::string task = "/proc/self/task/" + tid;
    all["children of " + tid] = read_whole(task + "/children");
    all["comm of " + tid] = read_whole(task + "/comm");
    const std::string status = read_whole(task + "/status");
    for (const char* field :
         {"SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff",
          "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Umask", "Cpus_allowed_list", "Tgid", "Pid"}) {
      // Restored without privilege it is in a user namespace, whose bounding set is the namespace's.
      if (field == std::string("CapBnd") && ::geteuid() != 0) continue;
      const size_t at = status.find(std::string("\n") + field + ":");
      if (at != std::string::npos)
        all[std::string(field) + " of " + tid] = status.substr(at + 1, status.find('\n', at + 1) - at - 1);
    }
  }
}

Description describe() {
  Description all;
  describe_fds(all);
  describe_threads(all);
  describe_attributes(all);
  describe_droppable(all);
  all["cwd"] = link_of("/proc/self/cwd");
  all["exe"] = link_of("/proc/self/exe");
  all["root"] = link_of("/proc/self/root");
  for (const char* file :
       {"cmdline", "environ", "limits", "personality", "coredump_filter", "oom_score_adj", "timerslack_ns", "auxv"}) {
    all[file] = read_whole(std::string("/proc/self/") + file);
  }
  int subreaper = -1;
  ::prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
  all["prctl"] = "dumpable " + std::to_string(::prctl(PR_GET_DUMPABLE)) + " subreaper " + std::to_string(subreaper) +
                 " nnp " + std::to_string(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) + " slack " +
                 std::to_string(::prctl(PR_GET_TIMERSLACK));
  all["nice"] = std::to_string(::getpriority(PRIO_PROCESS, 0));
  all["pid"] = std::to_string(::getpid());
  all["child signals"] = std::to_string(g_child_signals);
  int status = 0;
  const pid_t child = ::waitpid(-1, &status, __WALL | WNOHANG);
  all["wait"] = std::to_string(child) + (child < 0 ? " errno " + std::to_string(errno) : "");
  struct sigaction action = {};
  for (const int number : {SIGUSR1, SIGUSR2, SIGCHLD, SIGPIPE, SIGHUP}) {
    ::sigaction(number, nullptr, &action);
    all["action of " + std::to_string(number)] = std::to_string(reinterpret_cast<uintptr_t>(action.sa_handler)) +
                                                 " flags " + std::to_string(action.sa_flags) + " mask of HUP " +
                                                 std::to_string(sigismember(&action.sa_mask, SIGHUP));
  }
  return all;
}

void require(bool right, const char* what) {
  if (right) return;
  std::perror(what);
  std::exit(9);
}

// Nothing here is what a new process has.
void become_special(const char* directory) {
  require(::chdir(directory) == 0, "chdir");
  ::umask(0135);
  rlimit limit = {300, 400};
  require(::setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
  limit = {1 << 20, 2 << 20};
  require(::setrlimit(RLIMIT_CORE, &limit) == 0, "setrlimit");
  struct sigaction action = {};
  action.sa_handler = &on_user;
  action.sa_flags = SA_RESTART | SA_NODEFER;
  ::sigaddset(&action.sa_mask, SIGHUP);
  require(::sigaction(SIGUSR1, &action, nullptr) == 0, "sigaction");
  action.sa_handler = &on_child;
  require(::sigaction(SIGCHLD, &action, nullptr) == 0, "sigaction");
  ::signal(SIGUSR2, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  require(::prctl(PR_SET_CHILD_SUBREAPER, ::getenv("SUBREAPER") != nullptr ? 1 : 0) == 0, "prctl");
  require(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "prctl");
  require(::prctl(PR_SET_TIMERSLACK, 123456) == 0, "prctl");
  require(::prctl(PR_SET_NAME, "odd (na)me") == 0, "prctl");
  require(::setpriority(PRIO_PROCESS, 0, 3) == 0, "setpriority");
  require(::personality(ADDR_NO_RANDOMIZE) >= 0, "personality");
  sigset_t mask;
  ::sigemptyset(&mask);
  ::sigaddset(&mask, SIGRTMIN + 2);
  ::pthread_sigmask(SIG_BLOCK, &mask, nullptr);
  ::sigqueue(::getpid(), SIGRTMIN + 2, {17});  // pending for ever
}

int64_t monotonic_ns() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int report = ::open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  require(report >= 0, "open of the report");
  become_special(argv[2]);
  std::thread(&live_as_second_thread).detach();
  set_attributes();
  const std::string missing = map_odd_memory();
  require(::write(report, missing.data(), missing.size()) == static_cast<ssize_t>(missing.size()), "write");
  while (g_second_cpuid == -1 && g_second_tsc == -1) ::usleep(1000);
  ::usleep(20000);
  const Description first = describe();
  for (int64_t clock = monotonic_ns();;) {
    std::string text;
    for (const auto& [what, now] : describe()) {
      const auto before = first.find(what);
      const std::string was = before == first.end() ? "nothing" : before->second;
      if (was != now) text += "CHANGED " + what + ": " + was + " -> " + now + "\n";
    }
    const int64_t now = monotonic_ns();
    if (now < clock || now > clock + 1'000'000'000'000)
      text += "CHANGED CLOCK_MONOTONIC jumped by " + std::to_string(now - clock) + "\n";
    clock = now;
    if (g_droppable != nullptr && g_droppable[0] == '\0') {
      text += "droppable memory is empty\n";
      g_droppable[0] = 'x';
    }
    text += "tick\n";
    require(::write(report, text.data(), text.size()) == static_cast<ssize_t>(text.size()), "write of the report");
    const timespec nap = {0, 3000000};
    if (::nanosleep(&nap, nullptr) != 0) require(false, "CHANGED: nanosleep was interrupted");
  }
}
