#include "helper/restore/validate_objects.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"

namespace stillpoint {
namespace {

constexpr uint64_t kMinHugePage = uint64_t{64} << 10;
constexpr uint64_t kMaxHugePage = uint64_t{16} << 30;  // Linux: MAP_HUGE_16GB
constexpr uint64_t kMaxOffset = ~uint64_t{0} >> 1;
// A century: the sum of any few of them is a number of nanoseconds still.
constexpr int64_t kMaxClock = int64_t{100} * 365 * 24 * 3600 * 1'000'000'000 / 2;

template <typename... Parts>
absl::Status damaged(const Parts&... parts) {
  return absl::DataLossError(absl::StrCat("state.pb: ", parts...));
}

template <typename Objects>
absl::Status check_ids(const Objects& objects, const char* what) {
  std::set<uint64_t> ids;
  for (const auto& object : objects) {
    if (object.id() == 0) return damaged(what, " without an id");
    if (!ids.insert(object.id()).second) return damaged(what, " ", object.id(), " stands twice");
  }
  return absl::OkStatus();
}

bool is_page_size(uint64_t size) {
  return size == 0 || (size >= kMinHugePage && size <= kMaxHugePage && (size & (size - 1)) == 0);
}

absl::Status check_page_sizes(const model::Tree& tree) {
  for (const model::SharedMemory& memory : tree.shared_memories()) {
    if (is_page_size(memory.huge_page_size())) continue;
    return damaged("shared memory ", memory.id(), " has pages of ", memory.huge_page_size(), " bytes");
  }
  for (const model::AddressSpace& space : tree.address_spaces()) {
    for (const model::Vma& vma : space.vmas()) {
      if (is_page_size(vma.huge_page_size())) continue;
      return damaged("the mapping at ", absl::Hex(vma.start()), " has pages of ", vma.huge_page_size(), " bytes");
    }
  }
  return absl::OkStatus();
}

absl::Status check_segments(const model::Tree& tree) {
  std::set<int32_t> ids;
  for (const model::SharedMemory& memory : tree.shared_memories()) {
    if (!memory.has_sysv()) continue;
    const model::SysvSegment& segment = memory.sysv();
    if (segment.id() < 0 || segment.size() == 0 || segment.size() > memory.size() ||
        page_ceil(segment.size()) != memory.size() || segment.mode() > 0777) {
      return damaged("System V segment ", segment.id(), " of ", segment.size(), " bytes is impossible");
    }
    if (memory.memfd() || memory.huge_page_size() != 0) {
      return damaged("System V segment ", segment.id(), " is another kind of memory too");
    }
    if (!ids.insert(segment.id()).second) return damaged("System V segment ", segment.id(), " stands twice");
  }
  return absl::OkStatus();
}

absl::Status check_timers(const model::Process& process) {
  std::set<int32_t> ids;
  for (const model::PosixTimer& timer : process.posix_timers()) {
    if (!ids.insert(timer.id()).second) {
      return damaged("timer ", timer.id(), " of pid ", process.pid(), " stands twice");
    }
  }
  return absl::OkStatus();
}

absl::Status check_locks(const model::Tree& tree) {
  std::set<int32_t> living;
  for (const model::Process& process : tree.processes()) {
    if (!process.ended()) living.insert(process.pid());
  }
  for (const model::OpenFile& file : tree.open_files()) {
    for (const model::FileLock& lock : file.locks()) {
      if (lock.kind() == model::FileLock::UNKNOWN || !model::FileLock::Kind_IsValid(lock.kind())) {
        return damaged("open file ", file.id(), " has a lock of unknown kind ", static_cast<int>(lock.kind()));
      }
      if (lock.first() > lock.last() || lock.last() > kMaxOffset) {
        return damaged("open file ", file.id(), " has a lock on bytes ", lock.first(), "-", lock.last());
      }
      if (lock.kind() == model::FileLock::POSIX && !living.contains(lock.pid())) {
        return damaged("open file ", file.id(), " has a lock of pid ", lock.pid(), ", which is not there");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status check_clocks(const model::Clocks& clocks) {
  for (const int64_t clock : {clocks.monotonic_ns(), clocks.boottime_ns()}) {
    if (clock < 0 || clock > kMaxClock) return damaged("a clock stands at ", clock, " ns");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status validate_objects(const model::Tree& tree) {
  RETURN_IF_ERROR(check_ids(tree.address_spaces(), "address space"));
  RETURN_IF_ERROR(check_ids(tree.file_tables(), "file table"));
  RETURN_IF_ERROR(check_ids(tree.open_files(), "open file"));
  RETURN_IF_ERROR(check_ids(tree.shared_memories(), "shared memory"));
  RETURN_IF_ERROR(check_ids(tree.mapped_files(), "mapped file"));
  RETURN_IF_ERROR(check_ids(tree.signal_tables(), "signal table"));
  RETURN_IF_ERROR(check_ids(tree.filesystem_contexts(), "filesystem context"));
  RETURN_IF_ERROR(check_page_sizes(tree));
  RETURN_IF_ERROR(check_locks(tree));
  RETURN_IF_ERROR(check_segments(tree));
  for (const model::Process& process : tree.processes()) RETURN_IF_ERROR(check_timers(process));
  return check_clocks(tree.clocks());
}

}  // namespace stillpoint
