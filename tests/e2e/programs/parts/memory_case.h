// One kind of mapping: made, used again and again, and every use leaves a number that depends on all bytes and all uses
// before. Parts of the target program memory_zoo.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_CASE_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_CASE_H_

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/e2e/programs/parts/report_line.h"

namespace memory {

inline constexpr size_t kPage = 4096;

inline int report_fd = -1;

__attribute__((format(printf, 1, 2))) inline void say(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_line(report_fd, format, arguments);
  va_end(arguments);
}

inline uint64_t mix(uint64_t a, uint64_t b) { return (a ^ b) * 0x9e3779b97f4a7c15u + (a >> 29); }

class Case {
 public:
  explicit Case(std::string name) : name_(std::move(name)) {}
  virtual ~Case() = default;
  const std::string& name() const { return name_; }
  // Empty, or what this kernel or this user lacks.
  virtual std::string make() = 0;
  virtual uint64_t use(uint64_t round) = 0;

 protected:
  void expect(bool right, const char* what) const {
    if (!right) say("ERROR %s: %s (errno %d)", name_.c_str(), what, errno);
  }
  static std::string lacks(const char* what) { return std::string(what) + ": errno " + std::to_string(errno); }

 private:
  std::string name_;
};
using Cases = std::vector<std::unique_ptr<Case>>;

inline char* map(size_t size, int protection, int flags, int fd = -1, off_t offset = 0, uint64_t at = 0) {
  void* memory = ::mmap(reinterpret_cast<void*>(at), size, protection, flags, fd, offset);
  return memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
}
inline char* map_private(size_t size, int more_flags = 0) {
  return map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | more_flags);
}
inline char* map_shared(size_t size, int fd, off_t offset = 0, int protection = PROT_READ | PROT_WRITE) {
  return map(size, protection, fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, offset);
}

// Bytes that nobody would guess.
inline void fill(char* memory, size_t size, uint64_t seed) {
  for (size_t i = 0; i + 8 <= size; i += 8) {
    seed = mix(seed, i + 1);
    std::memcpy(memory + i, &seed, 8);
  }
}
inline uint64_t hash(const char* memory, size_t size, uint64_t start = 7) {
  for (size_t i = 0; i + 8 <= size; i += 8) {
    uint64_t word;
    std::memcpy(&word, memory + i, 8);
    start = mix(start, word);
  }
  return start;
}
// Changes a word that depends on the round, then hashes all.
inline uint64_t change_and_hash(char* memory, size_t size, uint64_t round) {
  const size_t at = mix(round, 99) % (size / 8) * 8;
  uint64_t word;
  std::memcpy(&word, memory + at, 8);
  word = mix(word, round);
  std::memcpy(memory + at, &word, 8);
  return hash(memory, size);
}

inline sigjmp_buf fault_return;
inline volatile sig_atomic_t fault_expected = 0;
inline void on_fault(int number) {
  if (fault_expected == 0) {
    say("ERROR unexpected signal %d", number);
    std::_Exit(5);
  }
  fault_expected = 0;
  ::siglongjmp(fault_return, number);
}
// The signal that reading the byte raises; 0: none.
inline int fault_of_reading(const char* at) {
  if (const int number = ::sigsetjmp(fault_return, 1); number != 0) return number;
  fault_expected = 1;
  static_cast<void>(*static_cast<const volatile char*>(at));
  fault_expected = 0;
  return 0;
}
inline int fault_of_writing(char* at) {
  if (const int number = ::sigsetjmp(fault_return, 1); number != 0) return number;
  fault_expected = 1;
  volatile char* byte = at;
  *byte = *byte;
  fault_expected = 0;
  return 0;
}

inline uint64_t pagemap_entry(const char* at) {
  const int fd = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  uint64_t entry = 0;
  const off_t offset = static_cast<off_t>(reinterpret_cast<uintptr_t>(at) / kPage * sizeof entry);
  if (::pread(fd, &entry, sizeof entry, offset) != sizeof entry) entry = 0;
  ::close(fd);
  return entry;
}
// The page at `at` is one of the file's, not a copy of the process's own.
inline bool is_page_of_file(const char* at) {
  static_cast<void>(*static_cast<const volatile char*>(at));  // it may have been reclaimed
  return (pagemap_entry(at) >> 61 & 1) != 0;
}

inline std::string g_directory;

inline int make_file(const std::string& name, size_t size, uint64_t seed, int flags = O_RDWR) {
  const std::string path = g_directory + "/" + name;
  const int made = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  std::vector<char> bytes(size);
  fill(bytes.data(), size, seed);
  if (made < 0 || ::write(made, bytes.data(), size) != static_cast<ssize_t>(size)) return -1;
  ::close(made);
  return ::open(path.c_str(), flags | O_CLOEXEC);
}

}  // namespace memory

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_CASE_H_
