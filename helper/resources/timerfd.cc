// timerfds. They are armed by the new process, whose clocks have been set by then. What is left until the next
// expiration counts on after the restart; a date on CLOCK_REALTIME (TFD_TIMER_ABSTIME) stays that date, and is due
// at once when it has passed meanwhile. Expirations that nobody has read yet are there again (ticks).
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/detail.h"
#include "helper/resources/fdinfo.h"
#include "helper/resources/kinds.h"
#include "helper/resources/timerfd.pb.h"

namespace stillpoint {
namespace {

using resources::TimerfdDetail;

// <linux/timerfd.h> cannot stand beside <sys/timerfd.h>.
constexpr unsigned long kSetTicks = _IOW('T', 0, uint64_t);  // TFD_IOC_SET_TICKS
constexpr int64_t kSecond = 1'000'000'000;

int64_t to_nanoseconds(const timespec& time) { return time.tv_sec * kSecond + time.tv_nsec; }
timespec to_timespec(int64_t ns) { return {.tv_sec = ns / kSecond, .tv_nsec = ns % kSecond}; }

// "(1, 500000000)"
absl::StatusOr<int64_t> fdinfo_time(const OpenFileView& file, absl::string_view key) {
  ASSIGN_OR_RETURN(const std::string text, fdinfo_value(file, key));
  absl::string_view rest = text;
  uint64_t seconds = 0, nanoseconds = 0;
  const size_t comma = rest.find(", ");
  if (!absl::ConsumePrefix(&rest, "(") || !absl::ConsumeSuffix(&rest, ")") || comma == absl::string_view::npos ||
      !parse_unsigned(rest.substr(0, comma - 1), 10, seconds) ||
      !parse_unsigned(rest.substr(comma + 1), 10, nanoseconds) || nanoseconds >= uint64_t{kSecond} ||
      seconds >= INT64_MAX / kSecond) {
    return malformed_fdinfo(file, absl::StrCat(key, ": ", text));
  }
  return static_cast<int64_t>(seconds) * kSecond + static_cast<int64_t>(nanoseconds);
}

// A periodic timer that expired stands still in fdinfo until somebody asks for its time; the helper's copy asks,
// which is what a timerfd_gettime(2) of the program would do too.
absl::Status read_times(const OpenFileView& file, TimerfdDetail& detail) {
  OpenFileView now = file;
  if (file.fd >= 0) {
    itimerspec setting = {};
    if (::timerfd_gettime(file.fd, &setting) != 0) {
      return errno_status(errno, absl::StrCat("timerfd_gettime of ", describe(file)));
    }
    ASSIGN_OR_RETURN(now.fdinfo, procfs::read_text(absl::StrCat("/proc/self/fdinfo/", file.fd)));
  }
  ASSIGN_OR_RETURN(const uint64_t ticks, fdinfo_unsigned(now, "ticks", 10));
  ASSIGN_OR_RETURN(const int64_t value, fdinfo_time(now, "it_value"));
  ASSIGN_OR_RETURN(const int64_t interval, fdinfo_time(now, "it_interval"));
  detail.set_ticks(ticks);
  detail.set_interval_ns(interval);
  // Expired and not forwarded: the best that can be known is that the next one comes within an interval.
  detail.set_value_ns(value == 0 && ticks > 0 ? interval : value);
  return absl::OkStatus();
}

// Timers run on while the process stands still: the time that is kept is one that was read between two readings of the
// same number of expirations. (A periodic one that is faster than the readings never shows the same number twice.)
absl::Status read_consistent_times(const OpenFileView& file, TimerfdDetail& detail) {
  constexpr int kRounds = 8;
  RETURN_IF_ERROR(read_times(file, detail));
  for (int round = 0; file.fd >= 0 && round < kRounds; ++round) {
    const uint64_t ticks = detail.ticks();
    RETURN_IF_ERROR(read_times(file, detail));
    if (detail.ticks() == ticks) break;
  }
  return absl::OkStatus();
}

// An armed timer whose moment is just now reads as disarmed until its interrupt has run.
absl::Status read_settled_times(const OpenFileView& file, TimerfdDetail& detail) {
  RETURN_IF_ERROR(read_consistent_times(file, detail));
  if (file.fd < 0 || detail.value_ns() != 0 || detail.ticks() != 0) return absl::OkStatus();
  const timespec moment = {.tv_sec = 0, .tv_nsec = 200'000};
  ::nanosleep(&moment, nullptr);
  return read_consistent_times(file, detail);
}

absl::Status make_absolute(TimerfdDetail& detail) {
  timespec now = {};
  if (::clock_gettime(CLOCK_REALTIME, &now) != 0) return errno_status(errno, "clock_gettime(CLOCK_REALTIME)");
  detail.set_absolute(true);
  if (detail.value_ns() != 0) detail.set_value_ns(detail.value_ns() + to_nanoseconds(now));
  return absl::OkStatus();
}

// TFD_IOC_SET_TICKS is there when the kernel has CONFIG_CHECKPOINT_RESTORE. Asked on a timer that is set afterwards.
bool can_set_ticks(int fd) {
  const uint64_t one = 1;
  return !feature_disabled("timerfd_ticks") && ::ioctl(fd, kSetTicks, &one) == 0;
}

template <typename T>
std::string bytes_of(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

class TimerfdKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "timerfd"; }
  bool claims(const OpenFileView& file) const override { return file.link == "anon_inode:[timerfd]"; }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext&, model::OpenFile& out) const override {
    TimerfdDetail detail;
    ASSIGN_OR_RETURN(const uint64_t clock, fdinfo_unsigned(file, "clockid", 10));
    ASSIGN_OR_RETURN(const uint64_t flags, fdinfo_unsigned(file, "settime flags", 8));
    detail.set_clock(static_cast<int32_t>(clock));
    detail.set_number(file.number);
    RETURN_IF_ERROR(read_settled_times(file, detail));
    const bool realtime = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM;
    if (realtime && (flags & TFD_TIMER_ABSTIME) != 0) {
      RETURN_IF_ERROR(make_absolute(detail));
      detail.set_cancel_on_set((flags & TFD_TIMER_CANCEL_ON_SET) != 0);
    }
    return store_detail(detail, file, out);
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext&) const override {
    ASSIGN_OR_RETURN(const TimerfdDetail detail, parse_detail<TimerfdDetail>(file));
    RETURN_IF_ERROR(check_fd_number(file, detail.number()));
    if (detail.value_ns() < 0 || detail.interval_ns() < 0) return damaged_detail(file, "negative times");
    UniqueFd fd(::timerfd_create(detail.clock(), TFD_CLOEXEC | TFD_NONBLOCK));
    if (!fd.valid()) {
      return errno_status(errno, absl::StrCat("timerfd_create for ", describe(file), " on clock ", detail.clock()));
    }
    return fd;
  }

  absl::Status finish(const model::OpenFile& file, int fd, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const TimerfdDetail detail, parse_detail<TimerfdDetail>(file));
    itimerspec setting = {.it_interval = to_timespec(detail.interval_ns()), .it_value = to_timespec(detail.value_ns())};
    uint64_t flags = 0;
    if (detail.absolute()) flags |= TFD_TIMER_ABSTIME;
    if (detail.cancel_on_set()) flags |= TFD_TIMER_CANCEL_ON_SET;
    const bool exact = detail.ticks() == 0 || can_set_ticks(fd);
    if (!exact) {
      // Due at once: one expiration stands for all that were not read.
      setting.it_value = {.tv_sec = 0, .tv_nsec = 1};
      flags = 0;
      if (detail.ticks() > 1) {
        context.note(absl::StrCat(file.description(), ": ", detail.ticks(),
                                  " unread expirations come back as one (the kernel has no TFD_IOC_SET_TICKS)"));
      }
    }
    const uint64_t number = static_cast<uint64_t>(detail.number());
    context.in_process({.number = SYS_timerfd_settime,
                        .arguments = {number, flags, 0, 0},
                        .data_argument = 2,
                        .data = bytes_of(setting),
                        .what = absl::StrCat("timerfd_settime of ", file.description())});
    if (detail.ticks() == 0 || !exact) return absl::OkStatus();
    context.in_process({.number = SYS_ioctl,
                        .arguments = {number, kSetTicks, 0},
                        .data_argument = 2,
                        .data = bytes_of(detail.ticks()),
                        .what = absl::StrCat("ioctl(TFD_IOC_SET_TICKS) of ", file.description())});
    return absl::OkStatus();
  }
};

}  // namespace

const OpenFileKind& timerfd_kind() {
  static const auto& kind = *new TimerfdKind;
  return kind;
}

}  // namespace stillpoint
