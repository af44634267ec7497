// Shared memory and mapped files.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_SHARED_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_SHARED_H_

#include "tests/e2e/programs/parts/memory_case.h"

namespace memory {

inline bool writing_is_refused(int fd) { return ::pwrite(fd, "x", 1, 0) < 0 && errno == EPERM; }

// Two mappings of one shared anonymous object at different addresses, and a third that sees only its middle.
class SharedAnonymous : public Case {
 public:
  SharedAnonymous(std::string name, int flags) : Case(std::move(name)), flags_(flags) {}
  std::string make() override {
    first_ = map(kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | flags_);
    if (first_ == nullptr) return lacks("mmap");
    second_ = again(first_, kSize);
    middle_ = again(first_ + 16 * kPage, 8 * kPage);
    if (second_ == nullptr || middle_ == nullptr) return lacks("mremap");
    fill(first_, 20 * kPage, 12);
    return ::mprotect(middle_, 8 * kPage, PROT_READ) != 0 ? lacks("mprotect") : "";
  }
  uint64_t use(uint64_t round) override {
    first_[18 * kPage] = static_cast<char>(round);
    expect(second_[18 * kPage] == static_cast<char>(round), "written through one, not seen through the other");
    expect(middle_[2 * kPage] == static_cast<char>(round), "written through one, not seen in the part");
    second_[5] = static_cast<char>(round);
    expect(first_[5] == static_cast<char>(round), "not seen the other way round");
    return change_and_hash(round % 2 == 0 ? first_ : second_, 20 * kPage, round);
  }

 private:
  static char* again(char* of, size_t size) {
    void* memory = ::mremap(of, 0, size, MREMAP_MAYMOVE);
    return memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
  }
  static constexpr size_t kSize = 4096 * kPage;  // of which 20 pages are used
  const int flags_;
  char *first_ = nullptr, *second_ = nullptr, *middle_ = nullptr;
};

// Mapped whole, mapped partly, mapped privately, and written by pwrite(2).
class Memfd : public Case {
 public:
  Memfd(std::string name, unsigned flags, size_t unit) : Case(std::move(name)), flags_(flags), unit_(unit) {}
  std::string make() override {
    fd_ = ::memfd_create(name().c_str(), MFD_CLOEXEC | flags_);
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(4 * unit_)) != 0) return lacks("memfd_create");
    whole_ = map_shared(4 * unit_, fd_);
    if (whole_ == nullptr) return lacks("mmap");
    part_ = map_shared(2 * unit_, fd_, static_cast<off_t>(unit_));
    own_ = map(unit_, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd_, static_cast<off_t>(unit_));
    if (part_ == nullptr || own_ == nullptr) return lacks("mmap");
    fill(whole_ + unit_, unit_, 9);
    fill(own_, kPage, 10);  // the rest of it stays the memfd's
    return "";
  }
  uint64_t use(uint64_t round) override {
    part_[7] = static_cast<char>(round);
    expect(whole_[unit_ + 7] == static_cast<char>(round), "two mappings differ");
    char byte = 0;
    expect(::lseek(fd_, 0, SEEK_CUR) == static_cast<off_t>(round - 1), "the memfd's offset moved");
    expect(::lseek(fd_, static_cast<off_t>(round), SEEK_SET) >= 0, "lseek");
    if (flags_ == 0) {
      expect(::pread(fd_, &byte, 1, static_cast<off_t>(unit_ + 7)) == 1 && byte == static_cast<char>(round),
             "pread sees another byte");
      byte = static_cast<char>(round * 3);
      expect(::pwrite(fd_, &byte, 1, static_cast<off_t>(unit_ + 9)) == 1 && part_[9] == byte,
             "pwrite is not seen in the mapping");
    }
    return mix(change_and_hash(part_, unit_, round), change_and_hash(own_, kPage, round));
  }

 private:
  const unsigned flags_;
  const size_t unit_;
  int fd_ = -1;
  char *whole_ = nullptr, *part_ = nullptr, *own_ = nullptr;
};

// A memfd of which only the mapping is left.
class MemfdWithoutFd : public Case {
 public:
  MemfdWithoutFd() : Case("memfd_closed") {}
  std::string make() override {
    const int fd = ::memfd_create("closed", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, kSize) != 0) return lacks("memfd_create");
    memory_ = map_shared(kSize, fd);
    ::close(fd);
    if (memory_ == nullptr) return lacks("mmap");
    fill(memory_, 3 * kPage, 4);
    // Out of the page tables, still in the object.
    return ::madvise(memory_, kPage, MADV_DONTNEED) != 0 ? lacks("madvise") : "";
  }
  uint64_t use(uint64_t round) override { return change_and_hash(memory_, 3 * kPage, round); }

 private:
  static constexpr size_t kSize = 4096 * kPage;
  char* memory_ = nullptr;
};

class Sealed : public Case {
 public:
  Sealed(std::string name, int seals, bool writable_mapping, unsigned flags = MFD_ALLOW_SEALING)
      : Case(std::move(name)), seals_(seals), writable_mapping_(writable_mapping), flags_(flags) {}
  std::string make() override {
    fd_ = ::memfd_create(name().c_str(), MFD_CLOEXEC | flags_);
    std::vector<char> bytes(2 * kPage);
    fill(bytes.data(), bytes.size(), 77);
    if (fd_ < 0 || ::write(fd_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      return lacks("memfd_create");
    if (writable_mapping_) memory_ = map_shared(2 * kPage, fd_);
    if (::fcntl(fd_, F_ADD_SEALS, seals_) != 0) return lacks("F_ADD_SEALS");
    if (!writable_mapping_) memory_ = map_shared(2 * kPage, fd_, 0, PROT_READ);
    return memory_ == nullptr ? lacks("mmap of a sealed memfd") : "";
  }
  uint64_t use(uint64_t round) override {
    expect(::fcntl(fd_, F_GET_SEALS) == seals_, "other seals");
    if ((seals_ & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0)
      expect(writing_is_refused(fd_), "a sealed memfd can be written");
    if ((seals_ & F_SEAL_SHRINK) != 0) expect(::ftruncate(fd_, 0) != 0 && errno == EPERM, "a sealed memfd can be cut");
    if (!writable_mapping_) return mix(hash(memory_, 2 * kPage), round);
    return change_and_hash(memory_, 2 * kPage, round);
  }

 private:
  const int seals_;
  const bool writable_mapping_;
  const unsigned flags_;
  int fd_ = -1;
  char* memory_ = nullptr;
};

// A private mapping: changed pages are the process's, the others the file's. Several parts of one file, and a part
// behind its end.
class PrivateFile : public Case {
 public:
  PrivateFile() : Case("file_private") {}
  std::string make() override {
    const int fd = make_file(name(), 64 * kPage - 1000, 31, O_RDONLY);
    if (fd < 0) return lacks("open");
    const int flags = MAP_PRIVATE, protection = PROT_READ | PROT_WRITE;
    memory_ = map(72 * kPage, protection, flags, fd);
    part_ = map(3 * kPage, protection, flags, fd, 20 * kPage);
    other_ = map(2 * kPage, PROT_READ, flags, fd, 7 * kPage);
    ::close(fd);
    if (memory_ == nullptr || part_ == nullptr || other_ == nullptr) return lacks("mmap");
    for (const size_t page : kChanged) fill(memory_ + page * kPage, kPage, page);
    return "";
  }
  uint64_t use(uint64_t round) override {
    const uint64_t sum = hash(memory_, 64 * kPage);
    for (const size_t page : kChanged) expect(!is_page_of_file(memory_ + page * kPage), "a changed page is the file's");
    // (mlockall(2) makes copies of all that could be written.)
    for (const size_t page : {0, 4, 21, 62}) {
      const bool of_file = ::getenv("LOCK_ALL") != nullptr || is_page_of_file(memory_ + page * kPage);
      if (!of_file)
        say("ERROR %s: page %zu is a copy, pagemap %lx", name().c_str(), page, pagemap_entry(memory_ + page * kPage));
    }
    expect(std::memcmp(memory_ + 7 * kPage, other_, kPage) == 0, "two parts differ");
    expect(fault_of_reading(memory_ + 66 * kPage) == SIGBUS, "no SIGBUS behind the end of the file");
    for (const size_t page : kChanged) change_and_hash(memory_ + page * kPage, 512, round);
    return mix(sum, mix(change_and_hash(part_, 64, round), hash(other_, kPage)));
  }

 private:
  static constexpr size_t kChanged[] = {3, 5, 20, 40, 63};
  char *memory_ = nullptr, *part_ = nullptr, *other_ = nullptr;
};

// A shared mapping is the file: what is written here is read there.
class SharedFile : public Case {
 public:
  SharedFile() : Case("file_shared") {}
  std::string make() override {
    fd_ = make_file(name(), 16 * kPage, 41);
    if (fd_ < 0) return lacks("open");
    memory_ = map_shared(16 * kPage, fd_);
    later_ = map_shared(4 * kPage, fd_, 8 * kPage, PROT_READ);
    const int read_only = ::open((g_directory + "/" + name()).c_str(), O_RDONLY | O_CLOEXEC);
    read_only_ = map_shared(2 * kPage, read_only, 0, PROT_READ);
    ::close(read_only);
    return memory_ == nullptr || later_ == nullptr || read_only_ == nullptr ? lacks("mmap") : "";
  }
  uint64_t use(uint64_t round) override {
    // The file's content is not in an image: in a new life it may be ahead of the program. So no round builds on the
    // last, and one that a new life begins in is played until it ends the same way twice.
    Outcome last = play(round), again = play(round);
    for (; again.hash != last.hash || again.wrong != last.wrong; again = play(round)) last = again;
    if (again.wrong != nullptr) expect(false, again.wrong);
    return again.hash;
  }

 private:
  struct Outcome {
    uint64_t hash = 0;
    const char* wrong = nullptr;
  };
  Outcome play(uint64_t round) {
    Outcome outcome;
    const auto check = [&outcome](bool holds, const char* what) {
      if (!holds) outcome.wrong = what;
    };
    fill(memory_, 16 * kPage, round);
    memory_[3] = static_cast<char>(round);
    char byte = 0;
    check(::pread(fd_, &byte, 1, 3) == 1 && byte == static_cast<char>(round), "read(2) sees another byte");
    check(read_only_[3] == static_cast<char>(round), "the read-only mapping sees another byte");
    byte = static_cast<char>(round + 1);
    check(::pwrite(fd_, &byte, 1, 8 * kPage + 1) == 1 && later_[1] == byte, "write(2) is not seen");
    check(::msync(memory_, 16 * kPage, round % 2 == 0 ? MS_SYNC : MS_ASYNC) == 0, "msync");
    check(::mprotect(read_only_, kPage, PROT_READ | PROT_WRITE) != 0 && errno == EACCES,
          "a read-only mapping can be made writable");
    check(::mprotect(later_, 4 * kPage, PROT_READ | PROT_WRITE) == 0,
          "a mapping of a writable file cannot be made writable");
    later_[2] = static_cast<char>(round + 2);
    check(::mprotect(later_, 4 * kPage, PROT_READ) == 0, "mprotect");
    outcome.hash = change_and_hash(memory_, 16 * kPage, round);
    return outcome;
  }

  int fd_ = -1;
  char *memory_ = nullptr, *later_ = nullptr, *read_only_ = nullptr;
};

class DeletedFile : public Case {
 public:
  DeletedFile() : Case("file_deleted") {}
  std::string make() override {
    const int fd = make_file(name(), 8 * kPage, 51);
    if (fd < 0 || ::unlink((g_directory + "/" + name()).c_str()) != 0) return lacks("unlink");
    memory_ = map(10 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    ::close(fd);
    if (memory_ == nullptr) return lacks("mmap");
    fill(memory_ + kPage, kPage, 52);
    return "";
  }
  uint64_t use(uint64_t round) override {
    return mix(hash(memory_, 8 * kPage), change_and_hash(memory_ + kPage, kPage, round));
  }

 private:
  char* memory_ = nullptr;
};

// Pages from the pool of huge pages.
class HugeTlb : public Case {
 public:
  HugeTlb(std::string name, int flags) : Case(std::move(name)), flags_(flags) {}
  std::string make() override {
    memory_ = map(4 * kHuge, PROT_READ | PROT_WRITE, flags_ | MAP_ANONYMOUS | MAP_HUGETLB);
    if (memory_ == nullptr) return lacks("mmap(MAP_HUGETLB)");
    fill(memory_ + kHuge, kHuge, 71);  // one of four
    return "";
  }
  uint64_t use(uint64_t round) override { return change_and_hash(memory_ + kHuge, kHuge, round); }

 private:
  static constexpr size_t kHuge = 2 << 20;
  const int flags_;
  char* memory_ = nullptr;
};

inline void add_shared_cases(Cases& cases) {
  const auto add = [&](Case* made) { cases.emplace_back(made); };
  add(new SharedAnonymous("shared_anonymous", 0));
  add(new SharedAnonymous("shared_noreserve", MAP_NORESERVE));
  add(new Memfd("memfd", 0, 4 * kPage));
  add(new MemfdWithoutFd);
  add(new Sealed("sealed_write", F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK, false));
  add(new Sealed("sealed_future", F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK, true));
  add(new Sealed("sealed_sealed", F_SEAL_SEAL | F_SEAL_GROW, true));
  constexpr int kSealExec = 0x20;         // F_SEAL_EXEC, Linux 6.3
  constexpr unsigned kNoExecSeal = 0x8u;  // MFD_NOEXEC_SEAL
  add(new Sealed("sealed_noexec", kSealExec | F_SEAL_GROW, true, kNoExecSeal));
  add(new PrivateFile);
  add(new SharedFile);
  add(new DeletedFile);
  add(new HugeTlb("hugetlb_private", MAP_PRIVATE));
  add(new HugeTlb("hugetlb_shared", MAP_SHARED));
  add(new Memfd("hugetlb_memfd", MFD_HUGETLB, 2 << 20));
}

}  // namespace memory

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_MEMORY_SHARED_H_
