#include "helper/restore/thread_plan.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/model/pending_signal.h"
#include "helper/restore/attributes_plan.h"

namespace stillpoint {
namespace {

constexpr int kIoprioWhoProcess = 1;
constexpr int kSignals = 64;
constexpr int kMaxFillers = 200'000;
constexpr int kPrTimerCreateRestoreIds = 77;  // Linux 6.16: include/uapi/linux/prctl.h

struct KernelSigaction {
  uint64_t handler, flags, restorer, mask;
};

void plan_scheduling(const model::Thread& thread, CallList& calls) {
  const std::string tid = absl::StrCat(" of tid ", thread.tid());
  const model::Scheduling& scheduling = thread.scheduling();
  SchedAttr attr;
  attr.policy = scheduling.policy();
  attr.flags = scheduling.flags();
  attr.nice = scheduling.nice();
  attr.priority = scheduling.priority();
  attr.runtime = scheduling.runtime_ns();
  attr.deadline = scheduling.deadline_ns();
  attr.period = scheduling.period_ns();
  // Another machine may have fewer CPUs or forbid the policy: the program is right without them.
  calls.add("sched_setattr" + tid, SYS_sched_setattr, {0, calls.data_of(attr), 0}).may_fail = true;
  calls
      .add("sched_setaffinity" + tid, SYS_sched_setaffinity,
           {0, thread.affinity().size(), calls.data(thread.affinity())})
      .may_fail = true;
  if (thread.io_priority() != 0) {
    calls.add("ioprio_set" + tid, SYS_ioprio_set, {kIoprioWhoProcess, 0, thread.io_priority()}).may_fail = true;
  }
}

timespec to_timespec(int64_t ns) { return {ns / 1'000'000'000, ns % 1'000'000'000}; }
timeval to_timeval(uint64_t us) {
  return {static_cast<time_t>(us / 1'000'000), static_cast<suseconds_t>(us % 1'000'000)};
}

// Whether timer_create(2) takes a wished-for id (Linux 6.16).
bool timer_ids_can_be_chosen() {
  constexpr int kGet = 2;
  return !feature_disabled("timer_restore_ids") && ::prctl(kPrTimerCreateRestoreIds, kGet, 0, 0, 0) >= 0;
}

void plan_timer_create(const model::PosixTimer& timer, CallList& calls) {
  sigevent event{};
  event.sigev_notify = timer.notify();
  event.sigev_signo = timer.signal();
  event.sigev_value.sival_ptr = reinterpret_cast<void*>(timer.signal_value());
  event._sigev_un._tid = timer.notify_tid();
  const int id = timer.id();
  calls.add(absl::StrCat("timer_create with id ", id), SYS_timer_create,
            {timer.clock(), calls.data_of(event), calls.data_of(id)});
}

// Older kernels hand ids out in order, beginning at 0: those in between are made and deleted again.
absl::Status plan_timers_in_order(std::vector<model::PosixTimer> timers, CallList& calls) {
  std::sort(timers.begin(), timers.end(), [](const auto& a, const auto& b) { return a.id() < b.id(); });
  if (const int last = timers.back().id(); last > kMaxFillers) {
    return absl::UnimplementedError(absl::StrCat("timer ", last, " cannot be made again: this kernel does not let a ",
                                                 "program choose a timer's id (Linux 6.16 does)"));
  }
  int next = 0;
  for (const model::PosixTimer& timer : timers) {
    for (; next < timer.id(); ++next) {
      model::PosixTimer filler;
      filler.set_id(next);
      filler.set_notify(SIGEV_NONE);
      plan_timer_create(filler, calls);
      calls.add("timer_delete of a filler", SYS_timer_delete, {next});
    }
    plan_timer_create(timer, calls);
    next = timer.id() + 1;
  }
  return absl::OkStatus();
}

absl::Status plan_posix_timers(const model::Process& process, CallList& calls) {
  if (process.posix_timers_size() == 0) return absl::OkStatus();
  if (timer_ids_can_be_chosen()) {
    calls.add("prctl(PR_TIMER_CREATE_RESTORE_IDS)", SYS_prctl, {kPrTimerCreateRestoreIds, 1, 0, 0, 0});
    for (const model::PosixTimer& timer : process.posix_timers()) plan_timer_create(timer, calls);
    calls.add("prctl(PR_TIMER_CREATE_RESTORE_IDS)", SYS_prctl, {kPrTimerCreateRestoreIds, 0, 0, 0, 0});
  } else {
    RETURN_IF_ERROR(plan_timers_in_order({process.posix_timers().begin(), process.posix_timers().end()}, calls));
  }
  for (const model::PosixTimer& timer : process.posix_timers()) {
    const itimerspec spec = {to_timespec(timer.interval_ns()), to_timespec(timer.value_ns())};
    if (timer.value_ns() == 0) continue;
    calls.add(absl::StrCat("timer_settime of timer ", timer.id()), SYS_timer_settime,
              {timer.id(), 0, calls.data_of(spec), 0});
  }
  return absl::OkStatus();
}

void plan_limits(const model::Process& process, CallList& calls, std::vector<std::string>& notes) {
  for (const model::Rlimit& wanted : process.rlimits()) {
    rlimit now{};
    if (::getrlimit(static_cast<__rlimit_resource>(wanted.resource()), &now) != 0) continue;
    rlimit set = {wanted.soft(), wanted.hard()};
    if (wanted.hard() > now.rlim_max) {
      set.rlim_max = now.rlim_max;
      set.rlim_cur = std::min<rlim_t>(wanted.soft(), now.rlim_max);
      if (wanted.soft() > now.rlim_max) {
        notes.push_back(
            absl::StrCat("resource limit ", wanted.resource(), " is ", now.rlim_max, " here; it was ", wanted.soft()));
      }
    }
    if (set.rlim_cur == now.rlim_cur && set.rlim_max == now.rlim_max) continue;
    calls.add(absl::StrCat("prlimit of resource ", wanted.resource()), SYS_prlimit64,
              {0, wanted.resource(), calls.data_of(set), 0});
  }
}

}  // namespace

void plan_thread(const model::Thread& thread, int pid, const CallerCredentials& caller, CallList& calls) {
  const std::string tid = absl::StrCat(" of tid ", thread.tid());
  calls.add("prctl(PR_SET_NAME)" + tid, SYS_prctl, {PR_SET_NAME, calls.text(thread.name())});
  const model::SignalStack& stack = thread.signal_stack();
  if (stack.address() != 0) {
    stack_t native{};
    native.ss_sp = reinterpret_cast<void*>(stack.address());
    native.ss_size = stack.size();
    native.ss_flags = stack.flags() & ~SS_ONSTACK;
    calls.add("sigaltstack" + tid, SYS_sigaltstack, {calls.data_of(native), 0});
  }
  if (thread.robust_list() != 0) {
    calls.add("set_robust_list" + tid, SYS_set_robust_list, {thread.robust_list(), thread.robust_list_length()});
  }
  calls.add("set_tid_address" + tid, SYS_set_tid_address, {thread.clear_child_tid()});
  if (thread.rseq().address() != 0) {
    calls.add("rseq" + tid, SYS_rseq,
              {thread.rseq().address(), thread.rseq().size(), thread.rseq().flags(), thread.rseq().signature()});
  }
  calls.add("prctl(PR_SET_TIMERSLACK)" + tid, SYS_prctl, {PR_SET_TIMERSLACK, thread.timer_slack_ns()});
  plan_scheduling(thread, calls);
  for (const model::PendingSignal& pending : thread.pending_signals()) {
    calls.add("rt_tgsigqueueinfo" + tid, SYS_rt_tgsigqueueinfo,
              {pid, thread.tid(), model::signal_number(pending), calls.data(pending.siginfo())});
  }
  plan_thread_attributes(thread, calls);
  plan_credentials(thread.credentials(), caller, calls);
  // Always: the restorer's own tasks have one.
  calls.add("prctl(PR_SET_PDEATHSIG)" + tid, SYS_prctl, {PR_SET_PDEATHSIG, thread.parent_death_signal()});
  if (thread.no_new_privs())
    calls.add("prctl(PR_SET_NO_NEW_PRIVS)" + tid, SYS_prctl, {PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0});
}

void plan_process(const model::Process& process, const model::SignalTable& signals,
                  const model::FilesystemContext& context, const std::string& working_directory, CallList& calls) {
  calls.add(absl::StrCat("chdir to ", working_directory), SYS_chdir, {calls.text(working_directory)});
  calls.add("umask", SYS_umask, {context.umask()});
  for (int signal = 1; signal <= kSignals; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    std::string action(sizeof(KernelSigaction), '\0');  // SIG_DFL
    for (const model::SignalAction& saved : signals.actions()) {
      if (saved.signal() == signal) action = saved.action();
    }
    calls.add(absl::StrCat("rt_sigaction of signal ", signal), SYS_rt_sigaction, {signal, calls.data(action), 0, 8});
  }
  plan_process_attributes(process, calls);
  if (process.child_subreaper()) {
    calls.add("prctl(PR_SET_CHILD_SUBREAPER)", SYS_prctl, {PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0});
  }
}

absl::Status plan_late(const model::Process& process, CallList& calls, std::vector<std::string>& notes) {
  RETURN_IF_ERROR(plan_posix_timers(process, calls));
  for (const model::IntervalTimer& timer : process.interval_timers()) {
    const itimerval value = {to_timeval(timer.interval_us()), to_timeval(timer.value_us())};
    calls.add("setitimer", SYS_setitimer, {timer.which(), calls.data_of(value), 0});
  }
  for (const model::PendingSignal& pending : process.pending_signals()) {
    calls.add("rt_sigqueueinfo", SYS_rt_sigqueueinfo,
              {process.pid(), model::signal_number(pending), calls.data(pending.siginfo())});
  }
  plan_limits(process, calls, notes);
  calls.add("personality", SYS_personality, {process.personality()});
  return absl::OkStatus();
}

}  // namespace stillpoint
