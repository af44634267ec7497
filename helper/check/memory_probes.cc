#include <fcntl.h>
#include <linux/ioctl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/check/probes.h"
#include "helper/procfs/process_files.h"

namespace stillpoint::check {
namespace {

// linux/fs.h of 6.7.
struct PagemapScan {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t regions;
  uint64_t region_count;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};
struct PageRegion {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};
constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScan);
constexpr uint64_t kPageIsPresent = 1 << 3;

constexpr uint64_t kNoLimit = uint64_t{1} << 62;  // bytes

// Two pages, the first of them written.
class TestPages {
 public:
  TestPages() : address_(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (valid()) *static_cast<volatile char*>(address_) = 1;
  }
  ~TestPages() {
    if (valid()) ::munmap(address_, kSize);
  }
  TestPages(const TestPages&) = delete;
  TestPages& operator=(const TestPages&) = delete;
  bool valid() const { return address_ != MAP_FAILED; }
  uint64_t start() const { return reinterpret_cast<uint64_t>(address_); }
  static constexpr uint64_t kSize = 2 * kPageSize;

 private:
  void* address_;
};

// Gives this process's own values back to the kernel.
absl::Status set_own_mm_map() {
  ASSIGN_OR_RETURN(const procfs::Stat stat, procfs::read_stat(::getpid()));
  prctl_mm_map map = {};
  map.start_code = stat.start_code;
  map.end_code = stat.end_code;
  map.start_data = stat.start_data;
  map.end_data = stat.end_data;
  map.start_brk = stat.start_brk;
  map.brk = reinterpret_cast<uint64_t>(::sbrk(0));
  map.start_stack = stat.start_stack;
  map.arg_start = stat.arg_start;
  map.arg_end = stat.arg_end;
  map.env_start = stat.env_start;
  map.env_end = stat.env_end;
  map.exe_fd = ~0U;
  if (::prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0) != 0) return errno_status(errno, "prctl(PR_SET_MM_MAP)");
  return absl::OkStatus();
}

// The directory of this process's memory cgroup and the file with its limit.
struct MemoryCgroup {
  std::string directory;
  std::string limit_file;
};

// Version 1 has a line for the controller; version 2 has "0::/path".
absl::StatusOr<MemoryCgroup> find_memory_cgroup() {
  ASSIGN_OR_RETURN(const std::string text, procfs::read_text("/proc/self/cgroup"));
  ASSIGN_OR_RETURN(const std::vector<procfs::Mount> mounts, procfs::read_mountinfo(::getpid()));
  for (const bool version_1 : {true, false}) {
    for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
      if (fields.size() != 3) continue;
      const std::vector<absl::string_view> controllers = absl::StrSplit(fields[1], ',');
      const bool has_memory = std::find(controllers.begin(), controllers.end(), "memory") != controllers.end();
      if (version_1 ? !has_memory : fields[0] != "0") continue;
      for (const procfs::Mount& mount : mounts) {
        if (mount.filesystem != (version_1 ? "cgroup" : "cgroup2")) continue;
        if (version_1 && !absl::EndsWith(mount.mount_point, "memory")) continue;
        // A container sees its own cgroup as the root of the mount.
        const absl::string_view below = mount.root == "/" ? fields[2] : absl::string_view();
        return MemoryCgroup{absl::StrCat(mount.mount_point, absl::StripSuffix(below, "/")),
                            version_1 ? "memory.limit_in_bytes" : "memory.max"};
      }
    }
  }
  return absl::NotFoundError("no memory cgroup is mounted");
}

}  // namespace

Probe probe_set_mm_map() {
  return in_child([] { return from_status(set_own_mm_map()); });
}

Probe probe_pagemap_scan() {
  // Opened in a child, as that is dumpable; a non-dumpable process may not open its own.
  return in_child([] {
    const UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    if (!pagemap.valid()) return failed("open /proc/self/pagemap");
    const TestPages pages;
    if (!pages.valid()) return failed("mmap");
    PageRegion region = {};
    PagemapScan scan = {};
    scan.size = sizeof(scan);
    scan.start = pages.start();
    scan.end = pages.start() + TestPages::kSize;
    scan.regions = reinterpret_cast<uint64_t>(&region);
    scan.region_count = 1;
    scan.category_mask = kPageIsPresent;
    scan.return_mask = kPageIsPresent;
    const int regions = ::ioctl(pagemap.get(), kPagemapScan, &scan);
    if (regions < 0) return failed("ioctl(PAGEMAP_SCAN)");
    return regions == 1 && region.start == pages.start() ? yes() : no("PAGEMAP_SCAN missed a page that was written");
  });
}

Probe probe_cgroup_memory() {
  const absl::StatusOr<MemoryCgroup> cgroup = find_memory_cgroup();
  if (!cgroup.ok()) return no(std::string(cgroup.status().message()));
  const std::string path = absl::StrCat(cgroup->directory, "/", cgroup->limit_file);
  const absl::StatusOr<std::string> text = procfs::read_text(path);
  if (!text.ok()) return no(std::string(text.status().message()));
  uint64_t limit = kNoLimit;
  const bool is_number = absl::SimpleAtoi(*text, &limit);  // version 2 says "max", version 1 a number that large
  return yes(is_number && limit < kNoLimit ? absl::StrCat("limit ", limit >> 20, " MiB") : "no limit");
}

}  // namespace stillpoint::check
