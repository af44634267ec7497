#include "helper/tracee/frozen_process.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/tracee/stragglers.h"

namespace stillpoint {
namespace {

bool dead(char state) { return state == 'Z' || state == 'X' || state == 'x'; }

// 'Z' also for a thread that is gone: neither can be stopped, neither needs to be.
absl::StatusOr<char> state_of(pid_t pid, pid_t tid) {
  const absl::StatusOr<procfs::Stat> stat = procfs::read_stat(pid, tid);
  if (stat.ok()) return stat->state;
  if (absl::IsNotFound(stat.status())) return 'Z';
  return stat.status();
}

// Sees every thread out of uninterruptible sleep once, before any is attached to. A thread that was interrupted and
// cannot stop cannot be let go either (stragglers.h), and the rest of the process would stand still while it is
// waited for; a parent in vfork(2) is in that state for as long as its child likes.
absl::Status wait_until_interruptible(pid_t pid, absl::Time deadline) {
  ASSIGN_OR_RETURN(const std::vector<pid_t> tids, procfs::read_tids(pid));
  for (const pid_t tid : tids) {
    for (absl::Duration pause = absl::Microseconds(50);; pause = std::min(2 * pause, absl::Milliseconds(2))) {
      ASSIGN_OR_RETURN(const char state, state_of(pid, tid));
      if (state != 'D') break;
      if (absl::Now() >= deadline) {
        return absl::DeadlineExceededError(
            absl::StrCat("tid ", tid, " of pid ", pid,
                         " cannot be stopped: state D (uninterruptible sleep: a parent in vfork(2), or I/O that does "
                         "not come back)"));
      }
      absl::SleepFor(pause);
    }
  }
  return absl::OkStatus();
}

// NOT_FOUND when the thread is dead or a zombie.
absl::StatusOr<Thread> seize_and_interrupt(pid_t pid, pid_t tid) {
  absl::StatusOr<Thread> thread = Thread::seize(tid);
  if (!thread.ok()) {
    ASSIGN_OR_RETURN(const char state, state_of(pid, tid));
    if (dead(state)) return absl::NotFoundError(absl::StrCat("tid ", tid, " has ended"));
    return thread.status();
  }
  RETURN_IF_ERROR(thread->interrupt());
  return thread;
}

// Attaches to every thread /proc shows that is not in `threads` yet. Whether there was any.
absl::StatusOr<bool> attach_new(pid_t pid, std::vector<Thread>& threads) {
  ASSIGN_OR_RETURN(const std::vector<pid_t> tids, procfs::read_tids(pid));
  std::vector<pid_t> known;
  known.reserve(threads.size());
  for (const Thread& thread : threads) known.push_back(thread.tid());
  std::sort(known.begin(), known.end());
  bool any_new = false;
  for (const pid_t tid : tids) {
    if (std::binary_search(known.begin(), known.end(), tid)) continue;
    absl::StatusOr<Thread> thread = seize_and_interrupt(pid, tid);
    if (absl::IsNotFound(thread.status())) continue;
    RETURN_IF_ERROR(thread.status());
    threads.push_back(*std::move(thread));
    any_new = true;
  }
  return any_new;
}

// Waits for every thread; those that died meanwhile are taken out.
absl::Status wait_for_all(std::vector<Thread>& threads, absl::Time deadline) {
  for (Thread& thread : threads) {
    const absl::Status status = thread.wait_stopped(deadline);
    if (absl::IsNotFound(status)) {
      thread.forget();
      continue;
    }
    RETURN_IF_ERROR(status);
  }
  threads.erase(std::remove_if(threads.begin(), threads.end(), [](const Thread& thread) { return thread.tid() == 0; }),
                threads.end());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FrozenProcess> FrozenProcess::freeze(pid_t pid, absl::Time deadline) {
  detach_stragglers();
  RETURN_IF_ERROR(wait_until_interruptible(pid, deadline));
  FrozenProcess process;
  process.pid_ = pid;
  RETURN_IF_ERROR(process.stop_all(deadline));
  return process;
}

absl::StatusOr<Thread> FrozenProcess::catch_leader(pid_t pid) {
  ASSIGN_OR_RETURN(const procfs::Stat stat, procfs::read_stat(pid));
  if (dead(stat.state) && stat.threads <= 1) return absl::NotFoundError(absl::StrCat("pid ", pid, " has ended"));
  if (stat.threads != 1 || stat.state == 'D') return absl::UnavailableError(absl::StrCat("pid ", pid));
  return seize_and_interrupt(pid, pid);
}

absl::StatusOr<FrozenProcess> FrozenProcess::freeze(pid_t pid, Thread caught_leader, absl::Time deadline) {
  FrozenProcess process;
  process.pid_ = pid;
  process.threads_.push_back(std::move(caught_leader));
  RETURN_IF_ERROR(wait_for_all(process.threads_, deadline));
  RETURN_IF_ERROR(process.stop_all(deadline));
  return process;
}

absl::Status FrozenProcess::stop_all(absl::Time deadline) {
  // A directory that changes while it is read may hide an entry, so two readings in a row must show nothing new.
  for (int quiet_readings = 0; quiet_readings < 2;) {
    ASSIGN_OR_RETURN(const bool any_new, attach_new(pid_, threads_));
    RETURN_IF_ERROR(wait_for_all(threads_, deadline));
    quiet_readings = any_new ? 0 : quiet_readings + 1;
    if (any_new && absl::Now() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat("pid ", pid_, " makes threads faster than they can be stopped"));
    }
  }
  if (threads_.empty()) return absl::NotFoundError(absl::StrCat("pid ", pid_, " has ended"));
  std::sort(threads_.begin(), threads_.end(), [this](const Thread& a, const Thread& b) {
    if ((a.tid() == pid_) != (b.tid() == pid_)) return a.tid() == pid_;
    return a.tid() < b.tid();
  });
  return absl::OkStatus();
}

Thread* FrozenProcess::find(pid_t tid) {
  for (Thread& thread : threads_) {
    if (thread.tid() == tid) return &thread;
  }
  return nullptr;
}

absl::Status FrozenProcess::thaw() {
  absl::Status first_error;
  for (Thread& thread : threads_) {
    const absl::Status status = thread.detach();
    if (!absl::IsNotFound(status)) first_error.Update(status);
  }
  threads_.clear();
  return first_error;
}

}  // namespace stillpoint
