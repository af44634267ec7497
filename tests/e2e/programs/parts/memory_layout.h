// All mappings of the process with their flags and how much of each is in memory, compared with what they were.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_LAYOUT_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_LAYOUT_H_

#include <algorithm>

#include "tests/e2e/programs/parts/memory_case.h"

namespace memory {

class Layout {
 public:
  // Its own memory, made before the first look.
  Layout()
      : text_(map_private(kText, MAP_POPULATE)), mappings_(map_array()), before_(map_array()), again_(map_array()) {}

  void remember() {
    read();
    std::swap(mappings_, before_);
    std::swap(count_, count_before_);
  }
  // A line with CHANGED for every difference. Neighbours with the same flags may have become one mapping: the kernel
  // joins them when it can.
  void compare() {
    read();
    if (count_ > count_before_) say_what_is_new();
    size_t j = 0;
    for (size_t i = 0; i < count_before_; ++i) {
      const Mapping& was = before_[i];
      while (j < count_ && mappings_[j].end < was.end) ++j;
      if (j == count_ || mappings_[j].start > (was.grows ? was.end - 1 : was.start)) {
        // What grows downwards has its end, what grows upwards its start.
        if (!was.grows) say("CHANGED mapping %lx-%lx %s is gone", was.start, was.end, was.name);
        continue;
      }
      compare(was, mappings_[j]);
    }
  }

 private:
  void say_what_is_new() const {
    say("CHANGED number of mappings: %zu -> %zu", count_before_, count_);
    for (size_t i = 0, j = 0; i < count_; ++i) {
      while (j < count_before_ && before_[j].end < mappings_[i].end) ++j;
      if (j < count_before_ && before_[j].end == mappings_[i].end) continue;
      say("CHANGED new: %lx-%lx %s %s %s", mappings_[i].start, mappings_[i].end, mappings_[i].protection,
          mappings_[i].flags, mappings_[i].name);
    }
  }

  struct Mapping {
    uint64_t start, end, rss_kib;
    char protection[5];
    char name[64];
    char flags[128];
    bool grows;
  };
  static constexpr size_t kText = 1 << 20, kMappings = 1000;
  static Mapping* map_array() {
    char* memory = map_private(sizeof(Mapping) * kMappings, MAP_POPULATE);
    return reinterpret_cast<Mapping*>(memory);
  }

  static void compare(const Mapping& was, const Mapping& now) {
    if (std::strcmp(was.protection, now.protection) != 0)
      say("CHANGED %lx %s: %s -> %s", was.start, was.name, was.protection, now.protection);
    if (std::strcmp(was.flags, now.flags) != 0)
      say("CHANGED %lx %s: flags %s -> %s", was.start, was.name, was.flags, now.flags);
    if (std::strcmp(was.name, now.name) != 0) say("CHANGED %lx name: %s -> %s", was.start, was.name, now.name);
    // Memory nobody touched stays untouched. Mapped files come and go with the page cache.
    const bool own = was.name[0] == '\0' || std::strstr(was.name, "(deleted)") != nullptr;
    const bool joined = now.end - now.start != was.end - was.start;
    if (own && !joined && !was.grows && now.rss_kib > was.rss_kib + 16)
      say("CHANGED %lx %s: %lu kB -> %lu kB in memory", was.start, was.name, was.rss_kib, now.rss_kib);
  }

  // The kernel writes the text in pieces: one whose pieces come from two lives is torn. So it is read until it says the
  // same twice.
  void read() {
    read_once();
    for (;;) {
      std::swap(mappings_, again_);
      const size_t count = count_;
      read_once();
      if (count_ == count && std::equal(mappings_, mappings_ + count_, again_, is_same)) return;
    }
  }
  static bool is_same(const Mapping& a, const Mapping& b) {
    return a.start == b.start && a.end == b.end && std::strcmp(a.protection, b.protection) == 0 &&
           std::strcmp(a.name, b.name) == 0 && std::strcmp(a.flags, b.flags) == 0;
  }
  void read_once() {
    const int fd = ::open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    for (ssize_t n; (n = ::read(fd, text_ + size, kText - 1 - size)) > 0;) size += static_cast<size_t>(n);
    ::close(fd);
    text_[size] = '\0';
    count_ = 0;
    Mapping* mapping = nullptr;
    char* rest = nullptr;
    for (char* line = ::strtok_r(text_, "\n", &rest); line != nullptr; line = ::strtok_r(nullptr, "\n", &rest)) {
      if (line[0] < 'A' || line[0] > 'Z') {
        if (count_ == kMappings) std::_Exit(7);
        mapping = &mappings_[count_++];
        take_head(line, *mapping);
      } else if (std::sscanf(line, "Rss: %lu", &mapping->rss_kib) == 1) {
      } else if (std::strncmp(line, "VmFlags:", 8) == 0) {
        take_flags(line + 8, *mapping);
      }
    }
  }
  static void take_head(const char* line, Mapping& mapping) {
    std::memset(&mapping, 0, sizeof mapping);
    int name = 0;
    std::sscanf(line, "%lx-%lx %4s %*x %*s %*u %n", &mapping.start, &mapping.end, mapping.protection, &name);
    std::snprintf(mapping.name, sizeof mapping.name, "%s", line + name);
    // A deleted file that the helper may not open any more lives on as the process's own memory.
    if (std::strstr(mapping.name, "file_deleted") != nullptr) mapping.name[0] = '\0';
    // So does one whose copy the job keeps, under that name.
    if (std::strstr(mapping.name, "/images/files/") != nullptr) mapping.name[0] = '\0';
    // Shared memory from the pool of huge pages comes back as a memfd.
    if (std::strstr(mapping.name, "anon_hugepage") != nullptr) mapping.name[0] = '\0';
    mapping.grows = std::strcmp(mapping.name, "[heap]") == 0 || std::strcmp(mapping.name, "[stack]") == 0;
  }
  static void take_flags(char* text, Mapping& mapping) {
    char* rest = nullptr;
    for (char* flag = ::strtok_r(text, " ", &rest); flag != nullptr; flag = ::strtok_r(nullptr, " ", &rest)) {
      // Soft dirty; guards have been here, once.
      if (std::strcmp(flag, "sd") == 0 || std::strcmp(flag, "gu") == 0) continue;
      if (std::strcmp(flag, "gd") == 0) mapping.grows = true;
      std::strncat(mapping.flags, flag, 3);
      std::strcat(mapping.flags, " ");
    }
    // A shared mapping that can never be written is "sh" or not, by the way it came to be so. Nobody can tell.
    char* shared = std::strstr(mapping.flags, "sh ");
    if (shared != nullptr && std::strstr(mapping.flags, "mw ") == nullptr)
      std::memmove(shared, shared + 3, std::strlen(shared + 3) + 1);
  }

  char* text_;
  Mapping *mappings_, *before_, *again_;
  size_t count_ = 0, count_before_ = 0;
};

}  // namespace memory

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_LAYOUT_H_
