#include "sdk/tree_round.h"

#include <signal.h>
#include <stillpoint/stillpoint.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "sdk/anchor.h"
#include "sdk/messages.h"
#include "sdk/raw_syscall.h"

namespace stillpoint::sdk {
namespace {

static_assert(sizeof(MemoryRange) == 2 * sizeof(uint64_t), "the helper reads pairs");

// Counted in naps, not by a clock: while all stand still nobody naps.
constexpr long kNapNs = 2'000'000;
constexpr uint64_t kNapsBeforeResume = 10'000;  // 20 s without a sign of life, with resources released
constexpr uint64_t kNapsAfterResume = 300'000;  // 10 min: it may be writing to a slow disk

protocol::TreeRound& round() { return stillpoint_anchor_object.round; }

uint64_t load(const uint64_t& field) { return __atomic_load_n(&field, __ATOMIC_ACQUIRE); }
void store(uint64_t& field, uint64_t value) { __atomic_store_n(&field, value, __ATOMIC_RELEASE); }

void nap() {
  const timespec time = {0, kNapNs};
  raw_syscall(SYS_nanosleep, syscall_argument(&time), 0);
}

template <size_t kSize>
std::string text_of(const char (&field)[kSize]) {
  return std::string(field, ::strnlen(field, kSize));
}

bool is_own_pid_namespace(uint32_t inode) {
  struct stat info = {};
  return inode != 0 && ::stat("/proc/self/ns/pid", &info) == 0 && static_cast<uint32_t>(info.st_ino) == inode;
}

}  // namespace

std::unique_ptr<JoinedRound> JoinedRound::begin() {
  if (!tree_round_pending()) return nullptr;
  return std::unique_ptr<JoinedRound>(new JoinedRound(load(round().asked)));
}

JoinedRound::JoinedRound(uint64_t number)
    : number_(number),
      directory_(text_of(round().asked_directory)),
      helper_is_visible_(is_own_pid_namespace(round().asked_helper_pid_ns)),
      beat_(load(round().beat)) {}

void JoinedRound::enter(int32_t code, const std::string& message) const {
  protocol::TreeRound& shared = round();
  const size_t length = std::min(message.size(), sizeof shared.joined_message - 1);
  std::memcpy(shared.joined_message, message.data(), length);
  shared.joined_message[length] = '\0';
  shared.joined_code = code;
  shared.joined_excluded = reinterpret_cast<uint64_t>(excluded_.data());
  shared.joined_excluded_count = excluded_.size();
  std::memset(&shared.restored, 0, sizeof shared.restored);
  store(shared.joined, number_);
}

void JoinedRound::decline(const std::string& why) { enter(STILLPOINT_ABORTED, why); }

void JoinedRound::pass() { enter(STILLPOINT_OK, ""); }

bool JoinedRound::helper_has_gone() {
  const pid_t helper = round().asked_helper_pid;
  if (helper_is_visible_ && ::kill(helper, 0) != 0 && errno == ESRCH) return true;
  const uint64_t beat = load(round().beat);
  naps_ = beat == beat_ ? naps_ + 1 : 0;
  beat_ = beat;
  return naps_ > (resumed_ ? kNapsAfterResume : kNapsBeforeResume);
}

Ending JoinedRound::wait(ResumeObserver& observer, std::vector<MemoryRange> excluded, uint64_t signal_mask) {
  excluded_ = std::move(excluded);
  enter(STILLPOINT_OK, "");
  for (;;) {
    if (round().restored.magic == protocol::kRestoredInfoMagic) {
      store(round().done, number_);
      return Ending::kRestored;
    }
    const bool done = load(round().done) >= number_;
    if (!resumed_ && (done || load(round().resumed) >= number_)) {
      resumed_ = true;
      raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, syscall_argument(&signal_mask), 0, sizeof signal_mask);
      observer.resumed();
    }
    if (done) return Ending::kReplied;
    if (helper_has_gone()) {
      store(round().done, number_);
      return Ending::kGone;
    }
    nap();
  }
}

Status JoinedRound::status() const { return status_of(round().done_code, text_of(round().done_message)); }

uint64_t JoinedRound::sequence() const { return round().done_sequence; }

std::string JoinedRound::image() const { return text_of(round().done_image); }

const protocol::RestoredInfo& JoinedRound::restored_info() const { return round().restored; }

}  // namespace stillpoint::sdk
