// memory_churn REPORT: threads that map, fill, protect, lock, advise and unmap memory all the time, each in a room of
// its own, and look whether what they have is what they made; a line "beat N" whenever all of them have gone on.
#include <pthread.h>

#include <atomic>

#include "tests/e2e/programs/parts/memory_case.h"

using namespace memory;

namespace {

constexpr int kThreads = 3;
constexpr size_t kRoom = 64 * kPage;
std::atomic<uint64_t> steps[kThreads];

// VmFlags of the mapping at `at`.
std::string flags_at(const char* at) {
  static thread_local char text[1 << 18];
  const int fd = ::open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
  size_t size = 0;
  for (ssize_t n; (n = ::read(fd, text + size, sizeof text - 1 - size)) > 0;) size += static_cast<size_t>(n);
  ::close(fd);
  text[size] = '\0';
  bool inside = false;
  char* rest = nullptr;
  for (char* line = ::strtok_r(text, "\n", &rest); line != nullptr; line = ::strtok_r(nullptr, "\n", &rest)) {
    uint64_t start = 0, end = 0;
    if (std::sscanf(line, "%lx-%lx ", &start, &end) == 2) {
      inside = start <= reinterpret_cast<uintptr_t>(at) && reinterpret_cast<uintptr_t>(at) < end;
    } else if (inside && std::strncmp(line, "VmFlags:", 8) == 0) {
      return line;
    }
  }
  return "";
}

struct Way {
  const char* flag;  // that VmFlags must have then
  bool (*apply)(char* memory, size_t size);
};
const Way kWays[] = {
    {"rd", [](char*, size_t) { return true; }},
    {"rd", [](char* memory, size_t size) { return ::mprotect(memory, size, PROT_READ) == 0; }},
    {"lo", [](char* memory, size_t size) { return ::mlock(memory, size) == 0; }},
    {"dc", [](char* memory, size_t size) { return ::madvise(memory, size, MADV_DONTFORK) == 0; }},
    {"dd", [](char* memory, size_t size) { return ::madvise(memory, size, MADV_DONTDUMP) == 0; }},
    {"nh", [](char* memory, size_t size) { return ::madvise(memory, size, MADV_NOHUGEPAGE) == 0; }},
    {"sr", [](char* memory, size_t size) { return ::madvise(memory, size, MADV_SEQUENTIAL) == 0; }},
};

void check(const char* memory, size_t size, uint64_t expected, const Way& way, const char* when) {
  if (hash(memory, size) != expected) say("ERROR content is wrong %s, flag %s", when, way.flag);
}

void churn(int which) {
  char* room = reinterpret_cast<char*>(0x300000000000 + static_cast<uint64_t>(which) * 0x100000000);
  for (uint64_t step = 0;; ++step) {
    const size_t size = (1 + mix(step, 5) % 16) * kPage;
    const Way& way = kWays[mix(step, 77) % (sizeof kWays / sizeof kWays[0])];
    // Always at the same address: what was known of the last mapping is wrong for this one.
    char* memory = map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0,
                       reinterpret_cast<uint64_t>(room));
    if (memory == nullptr) std::_Exit(6);
    fill(memory, size, step);
    const uint64_t expected = hash(memory, size);
    if (!way.apply(memory, size)) say("ERROR flag %s could not be set: errno %d", way.flag, errno);
    check(memory, size, expected, way, "at once");
    if (step % 32 == 0 && flags_at(memory).find(way.flag) == std::string::npos) say("ERROR flag %s is lost", way.flag);
    if (step % 4 == 0) ::usleep(300);
    check(memory, size, expected, way, "later");
    if (::munmap(memory, kRoom) != 0) std::_Exit(6);
    ++steps[which];
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  report_fd = ::open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  for (intptr_t which = 0; which < kThreads; ++which) {
    pthread_t thread;
    const auto run = [](void* n) -> void* {
      churn(static_cast<int>(reinterpret_cast<intptr_t>(n)));
      return nullptr;
    };
    if (::pthread_create(&thread, nullptr, run, reinterpret_cast<void*>(which)) != 0) return 6;
  }
  for (int beat = 1;; ++beat) {
    for (std::atomic<uint64_t>& step : steps) {
      for (const uint64_t goal = step + 40; step < goal;) ::usleep(1000);
    }
    say("beat %d", beat);
  }
}
