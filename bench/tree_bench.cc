// What a dump and a restart of whole programs cost, next to what the kernel takes for the same amount of work:
// many small processes against as many forks, one large process against writing and reading as many bytes.
//   tree_bench [PROCESSES [MEBIBYTES [DIRECTORY]]]   (default 1000, 1024, /var/tmp)
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) {
  std::perror(what.c_str());
  std::exit(1);
}

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

void fork_sleepers(int count) {
  for (int i = 0; i < count; ++i) {
    const pid_t pid = ::fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
      for (;;) ::pause();
    }
  }
}

// Incompressible, in 4 KiB pages.
void fill_memory(size_t bytes) {
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  ::madvise(memory, bytes, MADV_NOHUGEPAGE);
  uint64_t value = 88172645463325252;
  for (size_t at = 0; at < bytes; at += sizeof value) {
    value ^= value << 13;
    value ^= value >> 7;
    value ^= value << 17;
    std::memcpy(static_cast<char*>(memory) + at, &value, sizeof value);
  }
}

// A program in a session of its own, so that all of it can be killed at once.
class Program {
 public:
  explicit Program(const std::function<void()>& prepare) {
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) != 0) fail("pipe2");
    pid_ = ::fork();
    if (pid_ < 0) fail("fork");
    if (pid_ == 0) {
      if (::setsid() < 0) ::_exit(1);
      const int null = ::open("/dev/null", O_RDWR);
      for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
      const int kept = ::dup2(ready[1], 3);
      ::close_range(4, ~0U, 0);
      prepare();
      if (::write(kept, "r", 1) != 1) ::_exit(1);
      ::close(kept);
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char byte = 0;
    if (::read(ready[0], &byte, 1) != 1) fail("the program");
    ::close(ready[0]);
  }
  pid_t pid() const { return pid_; }
  void kill() const {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    while (::kill(-pid_, 0) == 0) ::usleep(1000);  // until the pids are free
  }

 private:
  pid_t pid_;
};

// Output of a command that is still running where `until` ends the reading.
class Command {
 public:
  Command(const std::string& arguments, const std::string& until) {
    stream_ = ::popen((std::string(STILLPOINT_BUILT_COMMAND) + " " + arguments + " 2>&1").c_str(), "re");
    if (stream_ == nullptr) fail("popen");
    char line[1024];
    while (std::fgets(line, sizeof line, stream_) != nullptr) {
      output_ += line;
      if (!until.empty() && output_.find(until) != std::string::npos) return;
    }
  }
  ~Command() { ::pclose(stream_); }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  const std::string& output() const { return output_; }

 private:
  FILE* stream_;
  std::string output_;
};

struct Costs {
  double dump = 0, restore = 0;
  std::string said;
};

Costs measure(const std::function<void()>& prepare, const std::string& images) {
  std::filesystem::remove_all(images);
  const Program program(prepare);
  Costs costs;
  Clock::time_point begin = Clock::now();
  {
    const Command dump("checkpoint --pid " + std::to_string(program.pid()) + " " + images, "");
    costs.dump = seconds_since(begin);
    costs.said = dump.output();
  }
  program.kill();
  begin = Clock::now();
  const Command restart("restart " + images, "restored");
  costs.restore = seconds_since(begin);
  costs.said += restart.output();
  ::kill(-program.pid(), SIGKILL);
  std::filesystem::remove_all(images);
  return costs;
}

double fork_cost(int count) {
  void* const shared = ::mmap(nullptr, sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) fail("mmap");
  const pid_t pid = ::fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    if (::setsid() < 0) ::_exit(1);
    const Clock::time_point begin = Clock::now();
    fork_sleepers(count);
    *static_cast<double*>(shared) = seconds_since(begin);
    ::kill(0, SIGKILL);
    for (;;) ::pause();
  }
  ::waitpid(pid, nullptr, 0);
  const double seconds = *static_cast<double*>(shared);
  ::munmap(shared, sizeof(double));
  return seconds;
}

struct Transfer {
  double write = 0, read = 0;
};

// With O_DIRECT in pieces of 4 MiB, as fast as one thread can.
Transfer transfer_cost(size_t bytes, const std::string& path) {
  constexpr size_t kPiece = size_t{4} << 20;
  void* const piece = ::mmap(nullptr, kPiece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (piece == MAP_FAILED) fail("mmap");
  std::memset(piece, 0x5a, kPiece);
  Transfer cost;
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
  if (fd < 0) fail("open " + path);
  Clock::time_point begin = Clock::now();
  for (size_t done = 0; done < bytes; done += kPiece) {
    if (::write(fd, piece, kPiece) != static_cast<ssize_t>(kPiece)) fail("write " + path);
  }
  if (::fdatasync(fd) != 0) fail("fdatasync");
  cost.write = seconds_since(begin);
  begin = Clock::now();
  for (size_t done = 0; done < bytes; done += kPiece) {
    if (::pread(fd, piece, kPiece, static_cast<off_t>(done)) != static_cast<ssize_t>(kPiece)) fail("read " + path);
  }
  cost.read = seconds_since(begin);
  ::close(fd);
  ::unlink(path.c_str());
  ::munmap(piece, kPiece);
  return cost;
}

}  // namespace

int main(int argc, char** argv) {
  const int processes = argc > 1 ? std::atoi(argv[1]) : 1000;
  const size_t bytes = static_cast<size_t>(argc > 2 ? std::atoi(argv[2]) : 1024) << 20;
  const std::string directory = argc > 3 ? argv[3] : "/var/tmp";
  const std::string images = directory + "/tree_bench." + std::to_string(::getpid());
  ::setenv("STILLPOINT_HELPER", STILLPOINT_BUILT_HELPER, 0);

  const double forks = fork_cost(processes);
  const Costs many = measure([&] { fork_sleepers(processes); }, images);
  std::printf("%d forks: %.3f s\n", processes, forks);
  std::printf("%s%d processes: dump %.3f s = %.1f times their forks, restore %.3f s = %.1f times\n", many.said.c_str(),
              processes, many.dump, many.dump / forks, many.restore, many.restore / forks);
  const Transfer transfer = transfer_cost(bytes, images + ".raw");
  const Costs large = measure([&] { fill_memory(bytes); }, images);
  std::printf(
      "%s%zu MiB: write %.3f s, read %.3f s; dump %.3f s = %.2f times the write, restore %.3f s = %.2f times the "
      "read\n",
      large.said.c_str(), bytes >> 20, transfer.write, transfer.read, large.dump, large.dump / transfer.write,
      large.restore, large.restore / transfer.read);
  return 0;
}
