// Memory of the process's own: anonymous, stacks, heap, advice, locks, protections, code.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_PRIVATE_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_PRIVATE_H_

#include "tests/e2e/programs/parts/memory_case.h"

namespace memory {

class Random : public Case {
 public:
  explicit Random(std::string name, size_t size = 4 << 20, int flags = 0)
      : Case(std::move(name)), size_(size), flags_(flags) {}
  std::string make() override {
    memory_ = map_private(size_, flags_);
    if (memory_ == nullptr) return lacks("mmap");
    fill(memory_, size_, size_ + static_cast<size_t>(flags_));
    return "";
  }
  uint64_t use(uint64_t round) override { return change_and_hash(memory_, size_, round); }

 private:
  const size_t size_;
  const int flags_;
  char* memory_ = nullptr;
};

// 64 GiB of addresses, four pages of memory; and 32 MiB that nobody ever touches.
class Sparse : public Case {
 public:
  Sparse() : Case("sparse") {}
  std::string make() override {
    memory_ = map_private(kSize, MAP_NORESERVE);
    untouched_ = map_private(32 << 20);
    return memory_ == nullptr || untouched_ == nullptr ? lacks("mmap") : "";
  }
  uint64_t use(uint64_t round) override {
    uint64_t sum = 3;
    for (size_t i = 0; i < 4; ++i)
      sum = mix(sum, change_and_hash(memory_ + i * (kSize / 4 - 13 * kPage), kPage, round));
    return sum;
  }

 private:
  static constexpr size_t kSize = size_t{64} << 30;
  char *memory_ = nullptr, *untouched_ = nullptr;
};

// 64 pages of which some are written, with one or more madvise(2) values. Variants lie over a memfd, or have no access.
class Advised : public Case {
 public:
  enum class Over { kNothing, kMemfd, kFile };
  Advised(std::string name, std::vector<int> advice, Over over = Over::kNothing,
          int protection = PROT_READ | PROT_WRITE)
      : Case(std::move(name)), advice_(std::move(advice)), over_(over), protection_(protection) {}
  std::string make() override {
    int fd = -1;
    if (over_ == Over::kMemfd) {
      fd = ::memfd_create(name().c_str(), MFD_CLOEXEC);
      if (fd < 0 || ::ftruncate(fd, kPages * kPage) != 0) return lacks("memfd_create");
    } else if (over_ == Over::kFile) {
      fd = make_file(name(), kPages * kPage, 88);
    }
    memory_ = map(kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd);
    if (fd >= 0) ::close(fd);
    if (memory_ == nullptr) return lacks("mmap");
    fill(memory_, 5 * kPage, 21);
    fill(memory_ + 40 * kPage, 3 * kPage, 22);
    for (const int advice : advice_) {
      if (::madvise(memory_, kPages * kPage, advice) != 0) return lacks("madvise");
    }
    return ::mprotect(memory_, kPages * kPage, protection_) != 0 ? lacks("mprotect") : "";
  }
  uint64_t use(uint64_t round) override {
    expect(::mprotect(memory_, kPages * kPage, PROT_READ | PROT_WRITE) == 0, "mprotect");
    if (protection_ == PROT_NONE) expect(fault_of_reading(memory_) == 0, "not readable after mprotect");
    const uint64_t sum =
        mix(change_and_hash(memory_, 5 * kPage, round), change_and_hash(memory_ + 40 * kPage, 3 * kPage, round));
    expect(::mprotect(memory_, kPages * kPage, protection_) == 0, "mprotect back");
    if (protection_ == PROT_NONE) expect(fault_of_reading(memory_) == SIGSEGV, "readable although PROT_NONE");
    return sum;
  }

 private:
  static constexpr size_t kPages = 64;
  const std::vector<int> advice_;
  const Over over_;
  const int protection_;
  char* memory_ = nullptr;
};

// Transparent huge pages: whole ones, asked for.
class HugePages : public Case {
 public:
  HugePages() : Case("thp") {}
  std::string make() override {
    char* room = map_private(12 << 20);
    if (room == nullptr) return lacks("mmap");
    memory_ = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(room) + kHuge - 1) / kHuge * kHuge);
    if (::madvise(memory_, kSize, MADV_HUGEPAGE) != 0) return lacks("madvise(MADV_HUGEPAGE)");
    fill(memory_, kSize, 5);
    return "";
  }
  uint64_t use(uint64_t round) override { return change_and_hash(memory_, kSize, round); }

 private:
  static constexpr size_t kHuge = 2 << 20, kSize = 8 << 20;
  char* memory_ = nullptr;
};

class Locked : public Case {
 public:
  Locked() : Case("locked") {}
  std::string make() override {
    constexpr unsigned kOnFault = 1;
    locked_ = map_private(kSize);
    on_fault_ = map_private(kSize);
    by_flag_ = map_private(kSize, MAP_LOCKED);
    if (locked_ == nullptr || on_fault_ == nullptr || by_flag_ == nullptr) return lacks("mmap");
    fill(locked_, kPage, 1);
    fill(on_fault_, kPage, 2);
    if (::mlock(locked_, kSize) != 0) return lacks("mlock");
    if (::mlock2(on_fault_, kSize, kOnFault) != 0) return lacks("mlock2");
    return "";
  }
  uint64_t use(uint64_t round) override {
    return mix(change_and_hash(locked_, kSize, round),
               mix(change_and_hash(on_fault_, kPage, round), change_and_hash(by_flag_, kSize, round)));
  }

 private:
  static constexpr size_t kSize = 8 * kPage;
  char *locked_ = nullptr, *on_fault_ = nullptr, *by_flag_ = nullptr;
};

// The main stack and a mapping with MAP_GROWSDOWN go on growing, round by round.
class Growing : public Case {
 public:
  Growing() : Case("growing") {}
  std::string make() override {
    top_ = map(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1,
               0, kTop - 4 * kPage);
    if (top_ == nullptr) return lacks("mmap(MAP_GROWSDOWN)");
    top_ += 4 * kPage;
    return "";
  }
  uint64_t use(uint64_t round) override {
    const size_t pages = 4 + (round < 200 ? round : 200);
    for (size_t page = 5; page <= pages; ++page) fill(top_ - page * kPage, 64, page);
    uint64_t sum = 0;
    for (size_t page = 1; page <= pages; ++page) sum = mix(sum, hash(top_ - page * kPage, 128));
    return mix(sum, deep(round < 200 ? static_cast<int>(round) : 200));
  }

 private:
  __attribute__((noinline)) static uint64_t deep(int frames) {
    char frame[8192];
    fill(frame, sizeof frame, static_cast<uint64_t>(frames));
    asm volatile("" : : "r"(frame) : "memory");
    const uint64_t below = frames == 0 ? 1 : deep(frames - 1);
    return mix(below, hash(frame, sizeof frame));
  }
  static constexpr uint64_t kTop = 0x200000000000;
  char* top_ = nullptr;
};

class Heap : public Case {
 public:
  Heap() : Case("brk") {}
  std::string make() override { return ""; }
  uint64_t use(uint64_t round) override {
    if (round <= kMost) {
      char* page = static_cast<char*>(::sbrk(kPage));
      // malloc(3) may have moved the end, upwards only.
      expect(page >= end_, "the heap does not go on where it ended");
      fill(page, kPage, round);
      pages_[round - 1] = page;
      end_ = page + kPage;
    }
    uint64_t sum = 0;
    for (uint64_t i = 0; i < kMost && i < round; ++i) sum = mix(sum, hash(pages_[i], kPage));
    return sum;
  }

 private:
  static constexpr uint64_t kMost = 200;
  char* pages_[kMost] = {};
  char* end_ = nullptr;
};

// Pages with content below PROT_NONE, and guard regions (Linux 6.13).
class Guards : public Case {
 public:
  Guards(std::string name, std::vector<int> advice) : Case(std::move(name)), advice_(std::move(advice)) {}
  std::string make() override {
    constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL
    memory_ = map_private(16 * kPage);
    if (memory_ == nullptr) return lacks("mmap");
    fill(memory_, 16 * kPage, 61);
    for (const int advice : advice_) {
      if (::madvise(memory_, 16 * kPage, advice) != 0) return lacks("madvise");
    }
    if (::madvise(memory_ + 3 * kPage, kPage, kGuardInstall) != 0) return lacks("madvise(MADV_GUARD_INSTALL)");
    if (::madvise(memory_ + 8 * kPage, 2 * kPage, kGuardInstall) != 0) return lacks("madvise(MADV_GUARD_INSTALL)");
    return "";
  }
  uint64_t use(uint64_t round) override {
    for (const size_t page : {3, 8, 9})
      expect(fault_of_reading(memory_ + page * kPage) == SIGSEGV, "a guard page can be read");
    return mix(change_and_hash(memory_, 3 * kPage, round),
               mix(hash(memory_ + 4 * kPage, 4 * kPage), hash(memory_ + 10 * kPage, 6 * kPage)));
  }

 private:
  const std::vector<int> advice_;
  char* memory_ = nullptr;
};

// Code made at run time: written then RX, RWX and rewritten every round, and a memfd mapped twice (RW and RX).
class Code : public Case {
 public:
  Code() : Case("code") {}
  std::string make() override {
    fixed_ = map_private(kPage);
    writable_ = map(kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS);
    const int fd = ::memfd_create("code", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, kPage) != 0) return lacks("memfd_create");
    write_side_ = map_shared(kPage, fd);
    run_side_ = map_shared(kPage, fd, 0, PROT_READ | PROT_EXEC);
    ::close(fd);
    if (fixed_ == nullptr || writable_ == nullptr || write_side_ == nullptr || run_side_ == nullptr)
      return lacks("mmap");
    put_function(fixed_, 4711);
    put_function(writable_, 1);
    put_function(write_side_, 1);
    if (::mprotect(fixed_, kPage, PROT_READ | PROT_EXEC) != 0) return lacks("mprotect(PROT_EXEC)");
    return "";
  }
  uint64_t use(uint64_t round) override {
    const uint32_t before = run(writable_), before_alias = run(run_side_);
    expect(run(fixed_) == 4711, "code returns something else");
    expect(fault_of_writing(fixed_) == SIGSEGV, "code can be written");
    expect(before == before_alias, "code of two mappings differs");
    put_function(writable_, static_cast<uint32_t>(round) * 3 + before % 7);
    put_function(write_side_, static_cast<uint32_t>(round) * 3 + before % 7);
    return mix(before, run(run_side_));
  }

 private:
  static void put_function(char* at, uint32_t result) {  // mov eax, result; ret
    at[0] = '\xb8';
    std::memcpy(at + 1, &result, 4);
    at[5] = '\xc3';
  }
  static uint32_t run(char* at) { return reinterpret_cast<uint32_t (*)()>(at)(); }
  char *fixed_ = nullptr, *writable_ = nullptr, *write_side_ = nullptr, *run_side_ = nullptr;
};

// At an address of the program's own choice.
class Fixed : public Case {
 public:
  Fixed(std::string name, uint64_t at) : Case(std::move(name)), at_(at) {}
  std::string make() override {
    memory_ = map(kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0, at_);
    if (memory_ == nullptr) return lacks("mmap");
    fill(memory_, kPage, at_);
    return "";
  }
  uint64_t use(uint64_t round) override { return change_and_hash(memory_, kPage, round); }

 private:
  const uint64_t at_;
  char* memory_ = nullptr;
};

inline uint64_t lowest_address() {
  char text[32] = {};
  const int fd = ::open("/proc/sys/vm/mmap_min_addr", O_RDONLY | O_CLOEXEC);
  const ssize_t n = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  const uint64_t lowest = n > 0 ? std::strtoull(text, nullptr, 10) : 65536;
  return lowest < kPage ? kPage : lowest;
}

inline void add_private_cases(Cases& cases) {
  const auto add = [&](Case* made) { cases.emplace_back(made); };
  using Over = Advised::Over;
  add(new Random("anonymous"));
  add(new Random("map_stack", 64 * kPage, MAP_STACK | MAP_NORESERVE));
  add(new Sparse);
  add(new HugePages);
  add(new Advised("nohugepage", {MADV_NOHUGEPAGE}));
  add(new Advised("dontdump", {MADV_DONTDUMP, MADV_SEQUENTIAL}));
  add(new Advised("random_access", {MADV_RANDOM}));
  add(new Advised("mergeable", {MADV_MERGEABLE}));
  add(new Advised("dontfork", {MADV_DONTFORK}));
  add(new Advised("dontfork_memfd", {MADV_DONTFORK}, Over::kMemfd));
  add(new Advised("dontfork_file", {MADV_DONTFORK}, Over::kFile));
  add(new Advised("dontfork_none", {MADV_DONTFORK}, Over::kNothing, PROT_NONE));
  add(new Advised("wipeonfork", {MADV_WIPEONFORK}));
  add(new Advised("wipeonfork_dontfork", {MADV_WIPEONFORK, MADV_DONTFORK}));
  add(new Advised("none", {}, Over::kNothing, PROT_NONE));
  add(new Advised("none_memfd", {}, Over::kMemfd, PROT_NONE));
  add(new Advised("read_only", {}, Over::kNothing, PROT_READ));
  add(new Locked);
  add(new Growing);
  add(new Heap);
  add(new Guards("guards", {}));
  add(new Guards("guards_dontfork", {MADV_DONTFORK}));
  add(new Guards("guards_wipeonfork", {MADV_WIPEONFORK}));
  add(new Code);
  add(new Fixed("lowest", lowest_address()));
  add(new Fixed("highest", 0x7fffffffe000));
}

}  // namespace memory

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_PRIVATE_H_
