#include "helper/procfs/process_stamp.h"

#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "absl/strings/numbers.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {
namespace {

constexpr int64_t kTickMs = 10;  // USER_HZ is 100 on x86-64
constexpr size_t kMaxLineage = 64;

// A kernel without time namespaces has no such file, and no offset.
int64_t boottime_offset_ms() {
  const absl::StatusOr<std::string> text = read_text("/proc/self/timens_offsets");
  if (!text.ok()) return 0;
  return parse_boottime_offset_ms(*text).value_or(0);
}

absl::StatusOr<ProcessStamp> stamp_of(pid_t pid, const Stat& stat) {
  ASSIGN_OR_RETURN(const TaskStatus status, read_status(pid, pid));
  ProcessStamp stamp;
  stamp.pid = status.namespace_pids.empty() ? pid : status.namespace_pids.back();
  stamp.start_ms = static_cast<int64_t>(stat.start_time_ticks) * kTickMs - boottime_offset_ms();
  return stamp;
}

bool is_running_as(pid_t pid, const ProcessStamp& process) {
  const absl::StatusOr<Stat> stat = read_stat(pid);
  if (!stat.ok() || stat->state == 'Z' || stat->state == 'X') return false;
  const absl::StatusOr<ProcessStamp> found = stamp_of(pid, *stat);
  return found.ok() && same_process(*found, process);
}

}  // namespace

bool same_process(const ProcessStamp& a, const ProcessStamp& b) {
  return a.pid == b.pid && std::llabs(a.start_ms - b.start_ms) <= kTickMs;
}

absl::StatusOr<ProcessStamp> read_stamp(pid_t pid) {
  ASSIGN_OR_RETURN(const Stat stat, read_stat(pid));
  return stamp_of(pid, stat);
}

absl::StatusOr<std::vector<ProcessStamp>> read_lineage(pid_t pid) {
  std::vector<ProcessStamp> lineage;
  while (pid > 0 && lineage.size() < kMaxLineage) {
    const absl::StatusOr<Stat> stat = read_stat(pid);
    const absl::StatusOr<ProcessStamp> stamp = stat.ok() ? stamp_of(pid, *stat) : stat.status();
    if (!stamp.ok()) {
      if (lineage.empty()) return stamp.status();
      break;  // an ancestor that has ended meanwhile, or that hidepid hides
    }
    lineage.push_back(*stamp);
    pid = stat->parent_pid;
  }
  return lineage;
}

bool still_runs(const ProcessStamp& process) { return is_running_as(process.pid, process); }

std::optional<pid_t> find_process(const ProcessStamp& process) {
  if (still_runs(process)) return process.pid;
  struct Close {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, Close> proc(::opendir("/proc"));
  if (proc == nullptr) return std::nullopt;
  while (const dirent* entry = ::readdir(proc.get())) {
    pid_t pid = 0;
    if (absl::SimpleAtoi(entry->d_name, &pid) && is_running_as(pid, process)) return pid;
  }
  return std::nullopt;
}

bool is_ending(pid_t pid) {
  constexpr uint32_t kExiting = 0x4;  // PF_EXITING, Linux: include/linux/sched.h
  constexpr uint64_t kKill = uint64_t{1} << (SIGKILL - 1);
  const absl::StatusOr<Stat> stat = read_stat(pid);
  const absl::StatusOr<TaskStatus> status = read_status(pid, pid);
  return !stat.ok() || !status.ok() || (stat->flags & kExiting) != 0 || (status->pending & kKill) != 0 ||
         (status->shared_pending & kKill) != 0;
}

absl::StatusOr<int64_t> parse_boottime_offset_ms(absl::string_view text) {
  Lines lines(text);
  for (absl::string_view line; lines.next(line);) {
    const absl::string_view whole = line;
    if (take_word(line) != "boottime") continue;
    int64_t seconds = 0;
    int64_t nanoseconds = 0;
    constexpr int64_t kMostSeconds = int64_t{1} << 40;
    if (!whole_number(take_word(line), seconds) || !whole_number(take_word(line), nanoseconds) ||
        std::llabs(seconds) > kMostSeconds || std::llabs(nanoseconds) >= 1'000'000'000) {
      return malformed("timens_offsets", lines.number(), "seconds and nanoseconds", whole);
    }
    return seconds * 1000 + nanoseconds / 1'000'000;
  }
  return malformed("timens_offsets", 1, "a line for boottime", text);
}

}  // namespace stillpoint::procfs
